"""The trace of who asked, as it is kept with a task: opaque here, in the words of W3C Trace Context and of MCP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

#: the members that say a trace, in headers and in the `_meta` of a request
MEMBERS = ("traceparent", "tracestate")
#: characters; the standard has 55 for the first, and 512 for the other
LONGEST = 512


def trace_in(given: Mapping[str, Any] | None) -> dict[str, str]:
    """What says a trace among headers, or among the members of a request's `_meta`; nothing else of it."""
    found = {name: given.get(name) for name in MEMBERS} if given is not None else {}
    trace = {name: value for name, value in found.items() if isinstance(value, str) and 0 < len(value) <= LONGEST}
    return trace if "traceparent" in trace else {}


def with_trace(meta: Any, given: Mapping[str, Any] | None) -> Any:
    """What is kept with a task, and the trace beside its members. Raises TypeError when it has no members."""
    trace = trace_in(given)
    if not trace:
        return meta
    if meta is None:
        return trace
    if not isinstance(meta, dict):
        raise TypeError("A trace stands beside the members of `meta`, which must be a dict then.")
    return {**meta, **trace}
