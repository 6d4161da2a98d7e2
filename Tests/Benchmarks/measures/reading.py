"""Reads: the replay of events, sessions and their state."""

import workload
from bench import Bench
from measures.row import Row, at_most
from peers.redis_server import RedisServer


class Replay:
    """get_events_after of few and of many events, one call at a time."""

    name = "replay"
    limits = (10, 1_000)
    after = 50
    rows = tuple(
        Row(f"get_events_after, {limit:,} events, p50", "µs", f"ours_{limit}", f"{other}_{limit}", name, goal)
        for limit in limits
        for other, name, goal in (
            ("floor", "C, SQLite's own stepping", None),
            ("python", "Python sqlite3 + json, in process", at_most(0.2) if limit == 1_000 else None),
            ("node", "node:sqlite + JSON, in process", None),
            ("redis", "Redis, XRANGE", at_most(1.3) if limit == 1_000 else at_most(1)),
            ("persist", "mcp-persist, in process", None),
            ("echo", "C, echo (the pipe alone)", None),
        )
    )

    def prepare(self, bench: Bench) -> None:
        self.bench = bench
        sessions, events = bench.sizes.replay_sessions, bench.sizes.replay_sessions_events
        self.database = bench.database(self.name, sessions, events)
        self.files = bench.peer_files(sessions, events)
        self.making = bench.requests(
            f"{self.name}-redis", workload.ping(), workload.xadd_numbered(sessions * events, sessions)
        )
        self.requests, self.commands = {}, {}
        for limit in self.limits:
            self.requests[limit] = bench.requests(
                f"{self.name}-{limit}", workload.get_events_after(self.after, limit, sessions)
            )
            self.commands[limit] = bench.requests(
                f"{self.name}-redis-{limit}", workload.xrange(self.after, limit, sessions)
            )

    def round(self) -> dict[str, float]:
        bench, figures = self.bench, {}
        with RedisServer(bench.directory, "everysec") as redis:
            bench.drive("pipeline", self.making, 1, redis.command)
            for limit in self.limits:
                calls = bench.sizes.replays * (10 if limit == 10 else 1)
                ours = bench.drive("round_trips", self.requests[limit], calls, bench.sidecar(self.database))
                floor = bench.run(bench.floor("replay", self.database, calls, self.after, limit))
                # Slow ones do a part of the calls.
                few = max(calls // 4, 1)
                python = bench.run_words(
                    bench.python("python_sqlite"), "read", self.files["python_sqlite"], few, self.after, limit
                )
                node = bench.run_words(
                    bench.node("node_sqlite"), "read", self.files["node_sqlite"], calls, self.after, limit
                )
                there = bench.drive("round_trips", self.commands[limit], calls, redis.command)
                persist = bench.run_words(
                    bench.python("mcp_persist_store"), "read", self.files["mcp_persist_store"], max(few // 4, 1), limit
                )
                echo = bench.drive(
                    "round_trips", self.requests[limit], calls, bench.floor("echo", ours["answer_bytes"])
                )
                figures |= {
                    f"ours_{limit}": ours["trip_p50_us"],
                    f"floor_{limit}": floor["call_p50_us"],
                    f"python_{limit}": python["p50_us"],
                    f"node_{limit}": node["p50_us"],
                    f"redis_{limit}": there["trip_p50_us"],
                    f"persist_{limit}": persist["p50_us"],
                    f"echo_{limit}": echo["trip_p50_us"],
                }
        return figures


class Pages:
    """100,000 events of one session in pages of 10,000, each asked for after the one before."""

    name = "pages"
    figure = "get_events_after, 100,000 events in pages of 10,000"
    rows = (
        Row(figure, "ms", "ours", "floor", "C, SQLite's own stepping, one statement"),
        Row(figure, "ms", "ours", "redis", "Redis, XRANGE in the same pages"),
        Row(figure, "ms", "ours", "python", "Python sqlite3 + json, in process, one statement"),
    )
    events, page = 100_000, 10_000

    def prepare(self, bench: Bench) -> None:
        self.bench = bench
        self.events = min(self.events, bench.sizes.most_events)
        self.page = min(self.page, self.events)
        self.database = bench.database(self.name, 1, self.events)
        self.files = bench.peer_files(1, self.events, only=("python_sqlite",))
        self.requests = bench.requests(self.name, workload.pages(self.events, self.page))
        self.making = bench.requests(
            f"{self.name}-redis-making", workload.ping(), workload.xadd_numbered(self.events, 1)
        )
        self.commands = bench.requests(f"{self.name}-redis", workload.xrange_pages(self.events, self.page))

    def round(self) -> dict[str, float]:
        bench, pages = self.bench, -(-self.events // self.page)
        ours = bench.drive("round_trips", self.requests, pages, bench.sidecar(self.database))
        floor = bench.run(bench.floor("replay", self.database, 2, 0, self.events))
        with RedisServer(bench.directory, "everysec") as server:
            bench.drive("pipeline", self.making, 1, server.command)
            redis = bench.drive("round_trips", self.commands, pages, server.command)
        python = bench.run_words(
            bench.python("python_sqlite"), "read", self.files["python_sqlite"], 1, 0, self.events
        )
        return {
            "ours": ours["seconds"] * 1e3,
            "floor": floor["call_p50_us"] / 1e3,
            "redis": redis["seconds"] * 1e3,
            "python": python["p50_us"] / 1e3,
        }


class Sessions:
    """get_session, get_session_state and set_session_state, one at a time."""

    name = "sessions"
    methods = ("get_session", "get_session_state", "set_session_state")
    rows = (
        Row("get_session, one at a time, p50", "µs", "get_session", "get_session_echo", "C, echo", at_most(2)),
        Row("get_session, one at a time, p99", "µs", "get_session_p99", "get_session_echo_p99", "C, echo"),
        Row("get_session, one at a time, p50", "µs", "get_session", "get_session_redis", "Redis, HGETALL"),
        Row("get_session_state, one at a time, p50", "µs", "get_session_state", "get_session_state_echo", "C, echo",
            at_most(2)),
        Row("get_session_state, one at a time, p50", "µs", "get_session_state", "get_session_state_redis",
            "Redis, HGET"),
        Row("set_session_state, one at a time, p50", "µs", "set_session_state", "set_session_state_redis",
            "Redis, HSET, appendfsync always"),
    )  # fmt: skip

    def prepare(self, bench: Bench) -> None:
        self.bench = bench
        sessions = bench.sizes.sessions
        self.database = bench.database(self.name, sessions, state='{"k0":17}')
        requests = {
            "get_session": workload.get_sessions(sessions),
            "get_session_state": workload.get_states(sessions),
            "set_session_state": workload.set_states(10 * sessions, sessions),
        }
        commands = {
            "making": [*workload.ping(), *workload.hset_sessions(sessions), *workload.hset_states(sessions, sessions)],
            "get_session": workload.hgetall_sessions(sessions),
            "get_session_state": workload.hget_states(sessions),
            "set_session_state": workload.hset_states(10 * sessions, sessions),
        }
        self.requests = {name: bench.requests(f"{self.name}-{name}", lines) for name, lines in requests.items()}
        self.commands = {name: bench.requests(f"{self.name}-redis-{name}", lines) for name, lines in commands.items()}

    def round(self) -> dict[str, float]:
        bench, figures = self.bench, {}
        with RedisServer(bench.directory, "always") as redis:
            bench.drive("pipeline", self.commands["making"], 1, redis.command)
            for name in self.methods:
                count = bench.sizes.lone_events if name.startswith("set") else bench.sizes.reads
                requests = self.requests[name]
                ours = bench.drive("round_trips", requests, count, bench.sidecar(bench.fresh_copy(self.database)))
                echo = bench.drive("round_trips", requests, count, bench.floor("echo", ours["answer_bytes"]))
                there = bench.drive("round_trips", self.commands[name], count, redis.command)
                figures |= {
                    name: ours["trip_p50_us"],
                    f"{name}_p99": ours["trip_p99_us"],
                    f"{name}_echo": echo["trip_p50_us"],
                    f"{name}_echo_p99": echo["trip_p99_us"],
                    f"{name}_redis": there["trip_p50_us"],
                }
        return figures
