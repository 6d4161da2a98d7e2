"""What can go wrong between a server and its store."""

from __future__ import annotations

from typing import Any, Literal

#: `not_applied`: nothing of the call took effect. `unknown`: it is done completely or not at all.
Outcome = Literal["not_applied", "unknown"]

#: why there is no process to ask
Reason = Literal[
    "not_found", "not_startable", "incompatible", "not_a_sidecar", "exited", "gave_up", "closed", "forked",
]

#: why a codec cannot seal or open a payload: it has no such key; the key, the payload or its place is another; it was
#: stored without a key and that is not accepted; its envelope is damaged, or a newer client's; a library is missing
CodecReason = Literal[
    "unknown_key", "wrong_key", "plain", "damaged", "unknown_codec", "missing_library", "too_large",
]


class StoreError(Exception):
    """Anything that a store raises by itself."""

    #: of the contract; None when it was no call that failed
    method: str | None = None
    outcome: Outcome = "not_applied"
    #: whether the very same call may succeed later
    retryable: bool = False

    def __reduce__(self) -> Any:
        # Constructors take other things than messages; what an error knows is what it holds.
        return _restored, (type(self), self.args, self.__dict__.copy())


def _restored(kind: type[StoreError], args: tuple[Any, ...], members: dict[str, Any]) -> StoreError:
    error = kind.__new__(kind, *args)
    error.args = args  # which an OSError takes from its constructor alone
    error.__dict__.update(members)
    return error


class RequestError(StoreError):
    """The store refused a call. Each kind of the contract has a class of its own in `contract`."""

    method: str

    def __init__(self, method: str, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.method = method
        self.code: int = error["code"]
        #: the members of the error's `data`, such as `session_id`, `limit`, `current`
        data = error.get("data")
        self.data: dict[str, Any] = data if isinstance(data, dict) else {}
        #: what errors are told apart by: a value of `ErrorKind`, or one that only a newer program knows
        self.kind: str = self.data.get("kind", "")
        self.retryable = self.data.get("retryable", False)
        self.outcome = self.data.get("outcome", "not_applied")


class ChildError(StoreError):
    """There is no process to ask: it was not found, does not fit, has ended, or is closed.

    `outcome` is `unknown` when the call was on its way and may have changed something.
    """

    def __init__(
        self, message: str, outcome: Outcome = "not_applied", *, reason: Reason = "exited",
        exit_code: int | None = None, signal: str | None = None, method: str | None = None,
    ) -> None:
        super().__init__(message)
        self.method = method
        self.outcome = outcome
        self.reason: Reason = reason
        #: how the process ended by itself
        self.exit_code = exit_code
        #: the name of the signal that ended it
        self.signal = signal
        self.retryable = reason == "gave_up"

    def of(self, method: str | None, outcome: Outcome) -> ChildError:
        """The same failure as one call met it."""
        error = ChildError(
            str(self), outcome, reason=self.reason, exit_code=self.exit_code, signal=self.signal, method=method)
        error.__cause__ = self.__cause__
        return error


class CallTimeout(StoreError, TimeoutError):
    """The answer did not come in time. It is thrown away when it comes."""

    def __init__(self, method: str, timeout: float | None, outcome: Outcome) -> None:
        super().__init__(f"{method} had no answer after {timeout} s.")
        self.method = method
        self.outcome = outcome
        self.retryable = outcome == "not_applied"


class RequestTooLarge(StoreError, ValueError):
    """The call is longer than the store takes a line; it was not sent."""

    def __init__(self, method: str, size: int, limit: int) -> None:
        super().__init__(f"The call of {method} has {size} bytes, the store takes {limit} (max_line_bytes).")
        self.method = method
        self.size = size
        self.limit = limit


class Overloaded(StoreError):
    """More calls wait to be written than `max_waiting` allows; this one was not sent."""

    def __init__(self, method: str, waiting: int, limit: int) -> None:
        super().__init__(
            f"{waiting} bytes of calls wait to be written, and the bound is {limit} (max_waiting): wait for answers "
            f"before you call {method} again.")
        self.method = method
        self.retryable = True


class CodecError(StoreError):
    """A payload could not be sealed, and nothing was sent; or it came back and cannot be opened, and stays as it is.

    `outcome` is then as of an AnswerError: what the call was to do is done.
    """

    def __init__(self, message: str, reason: CodecReason, key_id: str | None = None) -> None:
        super().__init__(message)
        self.reason: CodecReason = reason
        #: of the key that the payload names
        self.key_id = key_id
        #: where it stands in the result
        self.path: str | None = None
        #: the result, opened as far as that goes: what cannot be is there as it is stored
        self.result: Any = None
        #: those of the same result besides
        self.others: list[CodecError] = []

    def at(self, path: str) -> CodecError:
        """The same, where it was met."""
        self.path = f"{path}.{self.path}" if self.path else path
        for other in self.others:
            other.at(path)
        return self

    def beside(self, others: list[CodecError], result: Any) -> CodecError:
        """The same for a whole result."""
        self.others = [*self.others, *others]
        self.result = result
        more = f" {len(self.others)} more payloads of the result do not open either." if self.others else ""
        self.args = (f"{self.path}: {self.args[0]}{more}",)
        return self


class AnswerError(StoreError):
    """The answer came, and cannot be read. The store goes on."""

    def __init__(self, method: str, why: str, outcome: Outcome) -> None:
        super().__init__(f"The answer to {method} cannot be read: {why}")
        self.method = method
        self.outcome = outcome
