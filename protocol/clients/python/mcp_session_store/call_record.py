"""What there is to tell of a call that is over: how it went, and never what was in it."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .errors import Outcome

#: characters of an id that are shown; a session id may be a capability, which nobody who reads a log should hold
SHOWN = 13
#: at the beginning of parameters that are text, as the adapters write them
SESSION_ID = re.compile(r'\{"session_id":"([^"\\]{1,1024})"')


class CallRecord:
    """A call that is over, with all its waiting and repeating."""

    __slots__ = ("_begun", "duration", "error", "method", "outcome", "session_id", "started_at", "task_id")

    def __init__(self, method: str, session_id: str | None, task_id: str | None) -> None:
        self.method = method
        #: what it was about, where its parameters say that
        self.session_id = session_id
        self.task_id = task_id
        #: nanoseconds since 1970
        self.started_at = time.time_ns()
        #: seconds
        self.duration = 0.0
        #: what the store has of it
        self.outcome: Literal["ok"] | Outcome = "ok"
        #: what it raised, CancelledError among others; None: it has a result
        self.error: BaseException | None = None
        self._begun = time.perf_counter()

    def end(self, error: BaseException | None, outcome: Literal["ok"] | Outcome) -> None:
        """It is over."""
        self.duration = time.perf_counter() - self._begun
        self.error, self.outcome = error, outcome

    @property
    def kind(self) -> str | None:
        """The error in one word of a list that does not grow: the `kind` of the contract, the `reason` why there is no
        process, else the name of its class. None: there is none."""
        if self.error is None:
            return None
        return getattr(self.error, "kind", None) or getattr(self.error, "reason", None) or type(self.error).__name__

    def __str__(self) -> str:
        """On one line, with no payload in it and no id as a whole."""
        said = [self.method, self.outcome]
        if self.kind is not None:
            said.append(self.kind)
        said.append(f"{self.duration * 1_000:.1f} ms")
        for name, value in (("session", self.session_id), ("task", self.task_id)):
            if value is not None:
                said.append(f"{name} {shown(value)}")
        return " ".join(said)


def shown(name: str) -> str:
    """The beginning of an id: enough to find it by, too little to be it."""
    return name[:min(SHOWN, len(name) // 2)].encode("unicode_escape").decode() + "…"


def ids_of(params: Mapping[str, Any] | str | None) -> tuple[str | None, str | None]:
    """The session and the task that parameters name."""
    if isinstance(params, str):
        found = SESSION_ID.match(params)
        return found[1] if found else None, None
    session_id, task_id = (params or {}).get("session_id"), (params or {}).get("task_id")
    return session_id if isinstance(session_id, str) else None, task_id if isinstance(task_id, str) else None
