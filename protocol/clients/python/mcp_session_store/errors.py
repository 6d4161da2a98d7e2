"""What can go wrong between a server and its store."""

from __future__ import annotations

from typing import Any, Literal

#: `not_applied`: nothing of the call took effect. `unknown`: it is done completely or not at all.
Outcome = Literal["not_applied", "unknown"]


class StoreError(Exception):
    """Anything that a store raises."""

    outcome: Outcome = "not_applied"


class RequestError(StoreError):
    """The store refused a call. Each kind of the contract has a class of its own in `contract`."""

    def __init__(self, method: str, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        #: of the contract
        self.method = method
        self.code: int = error["code"]
        #: the members of the error's `data`, such as `session_id`, `limit`, `current`
        self.data: dict[str, Any] = error.get("data") or {}
        #: what errors are told apart by
        self.kind: str = self.data.get("kind", "")
        #: whether the very same call may succeed later
        self.retryable: bool = self.data.get("retryable", False)
        self.outcome = self.data.get("outcome", "not_applied")


class ChildError(StoreError):
    """The store's process could not be started, has ended, or is closed.

    `outcome` is `unknown` when the call was on its way and may have changed something.
    """

    def __init__(self, message: str, outcome: Outcome = "not_applied", *, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.outcome = outcome
        #: how the process ended; negative: by that signal; None: it did not start, or nobody knows yet
        self.exit_code = exit_code


class CallTimeout(StoreError, TimeoutError):
    """The answer did not come in time. It is thrown away when it comes."""

    def __init__(self, message: str, outcome: Outcome) -> None:
        super().__init__(message)
        self.outcome = outcome


class RequestTooLarge(StoreError, ValueError):
    """The call is longer than the store takes a line; it was not sent."""
