"""What MCP Events refuses, in words; which number each word has is for the profile to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

INVALID_PARAMS = -32602

Refusal = Literal[
    "invalid_params", "not_found", "forbidden", "resource_exhausted", "unsupported", "callback_endpoint_error"]

#: what becomes of a delivery that did not succeed, in the words that the extension has for it
LastError = Literal["connection_refused", "timeout", "tls_error", "http_4xx", "http_5xx", "challenge_failed"]


class EventsError(Exception):
    """A request that is refused, as the extension has it."""

    def __init__(self, refusal: Refusal, message: str, data: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.refusal = refusal
        self.data = data


@dataclass(frozen=True)
class Profile:
    """One of the worlds that the extension's drafts live in."""

    not_found: int
    forbidden: int
    resource_exhausted: int
    unsupported: int
    callback_endpoint_error: int
    #: whether `gap` and `terminated` are sent to webhooks
    envelopes: bool

    def code(self, refusal: Refusal) -> int:
        """The number of a refusal."""
        return INVALID_PARAMS if refusal == "invalid_params" else int(getattr(self, refusal))


PROFILES = {
    "sep-3415": Profile(-32023, -32024, -32025, -32026, -32027, envelopes=True),
    "sketch": Profile(-32011, -32012, -32013, -32014, -32015, envelopes=False),
}
#: names of those that are known
ProfileName = Literal["sep-3415", "sketch"]


def profile_of(name: ProfileName | Profile) -> Profile:
    """Raises ValueError when there is none of that name."""
    if isinstance(name, Profile):
        return name
    if name not in PROFILES:
        raise ValueError(f"profile: one of {', '.join(PROFILES)}, or a Profile, not {name!r}.")
    return PROFILES[name]


def invalid(message: str) -> EventsError:
    """The parameters are wrong."""
    return EventsError("invalid_params", message)
