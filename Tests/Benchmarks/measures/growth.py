"""What an operation costs in a large store, in times of what it costs in a small one."""

from pathlib import Path

import workload
from bench import Bench
from measures.row import Row, at_most

#: what is sent one at a time; the rest of the parameters behind the session's id
TRIPS = {
    "get_session": "",
    "get_session_state": ',"key":"k0"',
    "get_events_after": ',"limit":10',
    "set_session_state": ',"key":"k0","value":18',
    "store_event": f',"data":{workload.EVENT_DATA}',
}
#: what is sent as fast as the pipe takes it
PIPELINED = ("get_session", "store_event")


class Growth:
    """The same operations on sessions picked without a pattern, in a small and in a large store."""

    def __init__(self, name: str, small: tuple[int, int], large: tuple[int, int], what: str, is_slow: bool = False):
        """`small` and `large` are numbers of sessions, and of events in each of them."""
        self.name, self.small, self.large, self.is_slow = name, small, large, is_slow
        keys = [(f"{method}, one at a time, p50", method) for method in TRIPS]
        keys += [(f"{method}, pipelined", f"{method}_pipelined") for method in PIPELINED]
        self.rows = tuple(
            Row(f"{figure}: {what}", "µs each", f"large_{key}", f"small_{key}", "in the small store", at_most(1.5))
            for figure, key in keys
        )

    def prepare(self, bench: Bench) -> None:
        self.bench = bench
        self.stores = {}
        for size, (sessions, events) in (("small", self.small), ("large", self.large)):
            sessions, events = min(sessions, bench.sizes.most_sessions), min(events, bench.sizes.most_events)
            database = bench.database(f"{self.name}-{size}", sessions, events, state='{"k0":17}')
            self.stores[size] = database, self.requests(size, sessions)

    def requests(self, size: str, sessions: int) -> dict[str, Path]:
        files = {}
        for method, params in TRIPS.items():
            # As many as are timed, so that a warm cache of the sidecar does not answer for the whole store.
            numbers = workload.picks(self.trips(method) * 11 // 10 + 1, sessions)
            files[method] = self.bench.requests(
                f"{self.name}-{size}-{method}", workload.of_sessions(method, numbers, params)
            )
        for method in PIPELINED:
            numbers = workload.picks(self.bench.sizes.growth_pipelined, sessions)
            lines = workload.of_sessions(method, numbers, TRIPS[method])
            files[f"{method}_pipelined"] = self.bench.requests(
                f"{self.name}-{size}-{method}-pipelined", workload.get_unknown_session(), lines
            )
        return files

    def trips(self, method: str) -> int:
        return self.bench.sizes.growth_reads if method.startswith("get") else self.bench.sizes.lone_events

    def round(self) -> dict[str, float]:
        bench, figures = self.bench, {}
        for size, (database, files) in self.stores.items():
            # One copy for all: what the writes add is little beside what is there, and reads come first.
            command = bench.sidecar(bench.fresh_copy(database))
            for method in TRIPS:
                run = bench.drive("round_trips", files[method], self.trips(method), command)
                figures[f"{size}_{method}"] = run["trip_p50_us"]
            for method in PIPELINED:
                run = bench.drive("pipeline", files[f"{method}_pipelined"], 1, command)
                figures[f"{size}_{method}_pipelined"] = run["seconds"] / run["answers"] * 1e6
        return figures
