"""What the client tells of its calls: to `on_call`, to the log, to OpenTelemetry, and of the trace of who asked."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from http_server import modern, serving
from mcp.server.mcpserver import MCPServer
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

from mcp_session_store import BlockingStore, CallRecord, ChildError, Store, StoreError
from mcp_session_store.contract import SessionNotFound
from mcp_session_store.mcp_sessions import streamable_http_app
from mcp_session_store.mcp_task_extension import TaskExtension, current_task
from mcp_session_store.task_service import TaskService
from mcp_session_store.telemetry import Telemetry, context_of, continued, current_trace

SECRET = "a payload that nobody else may read"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


class Collector:
    """An OpenTelemetry of the real kind, which keeps everything in memory."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self._reader = InMemoryMetricReader()
        self.telemetry = Telemetry(
            tracer_provider=self.tracers, meter_provider=MeterProvider(metric_readers=[self._reader]))

    @property
    def spans(self) -> dict[str, Any]:
        """By their names; the last of each."""
        return {span.name: span for span in self._spans.get_finished_spans()}

    @property
    def points(self) -> dict[str, list[Any]]:
        data: Any = self._reader.get_metrics_data()
        [scope] = data.resource_metrics[0].scope_metrics
        return {metric.name: list(metric.data.data_points) for metric in scope.metrics}


def test_each_call_is_a_span_and_counts(binary: Path, database: Path) -> None:
    collector = Collector()

    async def run() -> str:
        async with Store(database, binary=binary, on_call=collector.telemetry) as store:
            with collector.tracers.get_tracer("host").start_as_current_span("a tool"):
                session = await store.create_session(principal=SECRET, status="active")
                await store.store_event(session["session_id"], data={"said": SECRET}, principal=SECRET)
                with pytest.raises(SessionNotFound):
                    await store.store_event("nothing", data=SECRET)
                subscription = await store.subscribe_events(session["session_id"], principal=SECRET)
                await subscription.aclose()
            return session["session_id"]

    session_id = asyncio.run(run())
    spans, points = collector.spans, collector.points
    made, failed = spans["mcp_session_store create_session"], spans["mcp_session_store store_event"]
    host = spans["a tool"]
    for span in (made, failed, spans["mcp_session_store subscribe_events"]):
        assert span.kind is SpanKind.CLIENT and span.parent.span_id == host.context.span_id
        assert host.start_time <= span.start_time <= span.end_time
    assert made.status.status_code is StatusCode.UNSET and made.attributes["mcp_session_store.outcome"] == "ok"
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.attributes["error.type"] == "session_not_found"
    assert failed.attributes["mcp_session_store.outcome"] == "not_applied"
    calls = {(point.attributes["mcp_session_store.method"], point.attributes["mcp_session_store.outcome"]): point.value
             for point in points["mcp_session_store.calls"]}  # fmt: skip
    assert calls["store_event", "ok"] == calls["store_event", "not_applied"] == calls["create_session", "ok"] == 1
    assert sum(point.count for point in points["mcp_session_store.call.duration"]) == sum(calls.values())
    assert [point.value for point in points["mcp_session_store.errors"]] == [1]
    told = repr([span.to_json() for span in spans.values()]) + repr(points)
    assert SECRET not in told and session_id not in told and session_id[:13] in told


def test_what_on_call_is_told(binary: Path, database: Path) -> None:
    records: list[CallRecord] = []

    def on_call(record: CallRecord) -> None:
        records.append(record)
        raise RuntimeError("of the host, and no business of the store's")

    async def run() -> None:
        async with Store(database, binary=binary, on_call=on_call) as store:
            await store.create_session(session_id="s", status="active")
            await store.call("store_event", '{"session_id":"s","data":1}')
            cancelled = asyncio.ensure_future(store.get_session("s"))
            await asyncio.sleep(0)
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled
            with pytest.raises(ValueError):
                await store.store_event("s", data=float("nan"))
        with pytest.raises(ChildError):
            await store.touch_session("s")

    asyncio.run(run())
    assert [(record.method, record.session_id, record.outcome, record.kind) for record in records] == [
        ("create_session", "s", "ok", None), ("store_event", "s", "ok", None),
        ("get_session", "s", "not_applied", "CancelledError"), ("store_event", "s", "not_applied", "ValueError"),
        ("touch_session", "s", "not_applied", "closed"),
    ]  # fmt: skip
    assert all(0 < record.duration < 60 for record in records[:2])


def test_threads_are_told_of_too(binary: Path, database: Path) -> None:
    collector = Collector()
    with BlockingStore(database, binary=binary, on_call=collector.telemetry) as store:
        with collector.tracers.get_tracer("host").start_as_current_span("a thread"):
            store.session_count()
    spans = collector.spans
    assert spans["mcp_session_store session_count"].parent.span_id == spans["a thread"].context.span_id


def test_the_log_has_a_record_a_call_when_asked(
    binary: Path, database: Path, caplog: pytest.LogCaptureFixture,
) -> None:
    async def run() -> tuple[str, str]:
        async with Store(database, binary=binary) as store:
            with caplog.at_level(logging.INFO, "mcp_session_store"):
                session = await store.create_session(status="active")
            with caplog.at_level(logging.DEBUG, "mcp_session_store"):
                await store.store_event(session["session_id"], data=SECRET)
                with pytest.raises(StoreError):
                    await store.get_session("s\n2", principal=7)  # type: ignore[arg-type]
            return session["session_id"], caplog.text

    session_id, text = asyncio.run(run())
    first, second = (record.getMessage() for record in caplog.records if record.levelno == logging.DEBUG)
    assert first.startswith("store_event ok ") and first.endswith(f" ms session {session_id[:13]}…")
    assert second.startswith("get_session not_applied invalid_params ") and "\n" not in second
    assert SECRET not in text and session_id not in text


def test_the_core_needs_no_opentelemetry() -> None:
    client = Path(__file__).parents[3] / "protocol/clients/python"
    program = """
import sys
sys.modules["opentelemetry"] = None
import mcp_session_store, mcp_session_store.task_service
try:
    import mcp_session_store.telemetry
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=client, capture_output=True, text=True, check=True)
    assert "pip install mcp-session-store[otel]" in done.stdout


def test_a_worker_goes_on_in_the_trace_of_who_asked(binary: Path, database: Path) -> None:
    collector = Collector()

    async def run() -> None:
        async with Store(database, binary=binary) as store:
            service = TaskService(store)
            with collector.tracers.get_tracer("host").start_as_current_span("who asks"):
                asked = get_current_span().get_span_context()
                made = await service.create("alice", meta={"step": 1}, trace=current_trace())
            untraced = await service.create("alice")
            with pytest.raises(TypeError):
                await service.create("alice", meta=[1], trace={"traceparent": PARENT})
        async with Store(database, binary=binary, on_call=collector.telemetry) as store:  # another life
            found = await TaskService(store).handle(made.task_id, "alice")
            assert found is not None and found.record["meta"] == {"step": 1, **found.trace}
            with continued(found.record):
                assert get_current_span().get_span_context().trace_id == asked.trace_id
                await found.complete({})
            done = collector.spans["mcp_session_store complete_task"]
            assert done.context.trace_id == asked.trace_id and done.parent.span_id == asked.span_id
            assert untraced.trace == {}
            assert not get_current_span(context_of(untraced.record)).get_span_context().is_valid
            said = {"meta": None, "original_params": {"_meta": {"traceparent": PARENT}}}
            assert get_current_span(context_of(said)).get_span_context().trace_id == int(TRACE, 16)

    asyncio.run(run())


@pytest.mark.parametrize("where", ["_meta", "header", "neither", "too long"])
def test_the_extension_keeps_the_callers_trace(binary: Path, database: Path, where: str) -> None:
    async def run() -> None:
        store = Store(database, binary=binary)
        server = MCPServer("test", extensions=[TaskExtension(store)])

        @server.tool()
        async def work() -> str:
            assert await current_task() is not None
            return "done"

        async with serving(streamable_http_app(server, store, hint=False)) as url:
            request = modern("tools/call", {"name": "work", "arguments": {}}, tasks=True)
            if where == "_meta":
                request["json"]["params"]["_meta"]["traceparent"] = PARENT
            elif where == "header":
                request["headers"]["traceparent"] = PARENT
            elif where == "too long":
                request["json"]["params"]["_meta"]["traceparent"] = PARENT * 20
            async with httpx.AsyncClient() as http:
                answer = (await http.post(f"{url}/mcp", **request)).json()
            found = await TaskService(store).handle(answer["result"]["taskId"], None)
            assert found is not None
            # Between the client and the server the SDK may have put spans of its own.
            assert bool(found.trace) is (where in ("_meta", "header"))
            assert TRACE in found.trace.get("traceparent", TRACE)

    asyncio.run(asyncio.wait_for(run(), 60))
