"""Spans and metrics of OpenTelemetry for the calls of a store: `pip install mcp-session-store[otel]`."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

try:
    from opentelemetry import context, metrics, trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as missing:
    raise ImportError(
        "Telemetry needs OpenTelemetry: 'pip install mcp-session-store[otel]'. Without it, give `on_call` a function "
        f"of your own, or look at the log at DEBUG. ({missing})") from missing

from .call_record import shown
from .trace_context import trace_in
from .version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from .call_record import CallRecord

SCOPE = "mcp-session-store"
#: seconds: the bounds that OpenTelemetry advises for calls of databases
BOUNDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)

_propagator = TraceContextTextMapPropagator()


class Telemetry:
    """What a store's `on_call` is to be, for spans and metrics.

        store = Store("sessions.db", on_call=Telemetry())

    Each call is a span of the kind CLIENT below the one that is current where the call is made, a value of the
    histogram `mcp_session_store.call.duration`, and one of the counter `mcp_session_store.calls`; one that failed is
    one of `mcp_session_store.errors` too. Payloads are never told; of ids the beginning, and on spans alone.

    tracer_provider, meter_provider: None: those that are set for the process.
    """

    def __init__(
        self, *, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None,
    ) -> None:
        self._tracer = trace.get_tracer(SCOPE, __version__, tracer_provider)
        meter = metrics.get_meter(SCOPE, __version__, meter_provider)
        self._durations = meter.create_histogram(
            "mcp_session_store.call.duration", "s", "Of a call, from the call on until it is settled.",
            explicit_bucket_boundaries_advisory=BOUNDS)
        self._calls = meter.create_counter("mcp_session_store.calls", "{call}", "Calls that are settled.")
        self._errors = meter.create_counter("mcp_session_store.errors", "{call}", "Calls that failed.")

    def __call__(self, record: CallRecord) -> None:
        attributes = {"mcp_session_store.method": record.method, "mcp_session_store.outcome": record.outcome}
        kind = record.kind
        if kind is not None:
            attributes["error.type"] = kind
            self._errors.add(1, attributes)
        self._calls.add(1, attributes)
        self._durations.record(record.duration, attributes)
        ids = {"mcp_session_store.session": record.session_id, "mcp_session_store.task": record.task_id}
        span = self._tracer.start_span(
            f"mcp_session_store {record.method}", kind=trace.SpanKind.CLIENT, start_time=record.started_at,
            attributes={**attributes, **{name: shown(value) for name, value in ids.items() if value is not None}})
        if kind is not None:
            span.set_status(trace.Status(trace.StatusCode.ERROR, kind))
        span.end(record.started_at + int(record.duration * 1e9))


def current_trace() -> dict[str, str]:
    """The trace that is current, as `traceparent` and `tracestate` to keep with a task; empty when there is none."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return trace_in(carrier)


def context_of(task: Mapping[str, Any]) -> Context:
    """The context of who asked for a task, from the store's record of it.

    What was kept in its `meta` comes first, then what the client itself said in the `_meta` of its request. The current
    context when there is neither.
    """
    params = task.get("original_params")
    for given in (task.get("meta"), params.get("_meta") if isinstance(params, dict) else None):
        kept = trace_in(given) if isinstance(given, dict) else {}
        if kept:
            return _propagator.extract(kept)
    return context.get_current()


@contextmanager
def continued(task: Mapping[str, Any]) -> Iterator[None]:
    """Work on a task as a part of the trace of who asked for it.

        with continued(handle.record):
            …
    """
    token = context.attach(context_of(task))
    try:
        yield
    finally:
        context.detach(token)
