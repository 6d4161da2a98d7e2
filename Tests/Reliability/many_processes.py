"""Eight processes on one file, all of them writing the same things at once, one killed every few seconds.

It goes in epochs. In each the workers, one thread with one process each, race for the same sessions, values, nonces,
rate limits, message ids and one queue, and write down what they were answered. What was in flight when a process was
killed may have happened or not. Then somebody else reads what is there, and both must agree.
"""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from part import Finding, Form
from sidecar import PATIENCE, Sidecar, clean_environment, line, request

WORKERS = 8
EPOCHS = 2
LONG_EPOCHS = 60
EPOCH_SECONDS = 15.0
#: seconds between two kills
KILLS = 2.0
SESSIONS = 4
RATE = {"limit": 500, "window": 366 * 86_400_000}
#: nothing may be evicted, for the readers may be as slow as they like
OPTIONS = ("--max-events-per-session", "0", "--max-task-messages", "0")
#: the log may have this size: beyond it `health` calls it too large
LOG_BOUND = 256 << 20

PROMISES = {
    "events": "the events of a session have the ids 1, 2, 3, …, whoever stores them; none that was answered is gone",
    "updates": "no update with if_revision is lost",
    "nonces": "a nonce is consumed once among all processes",
    "rates": "a rate limit is one for all processes",
    "log": "a message that several processes send is in the log once",
    "queue": "a message in a queue is handed out once",
    "followers": "a subscriber sees each event once and in order, however slow it reads",
    "answers": "nobody is answered database_busy or any other error, and the file stays sound",
    "wal": f"the write-ahead log stays under {LOG_BOUND >> 20} MiB",
    "exclusive": "--exclusive keeps everybody else out, and does not begin beside others",
}


@dataclass
class Book:
    """What the workers were answered in one epoch, and what they do not know."""

    #: (session, id) -> data
    events: dict[tuple[str, int], str] = field(default_factory=dict)
    updates: Counter[str] = field(default_factory=Counter)
    firsts: Counter[str] = field(default_factory=Counter)
    allowed: Counter[str] = field(default_factory=Counter)
    denied: Counter[str] = field(default_factory=Counter)
    #: (session, message id, seq)
    logged: set[tuple[str, str, int]] = field(default_factory=set)
    appended: Counter[tuple[str, str]] = field(default_factory=Counter)
    enqueued: set[str] = field(default_factory=set)
    dequeued: Counter[str] = field(default_factory=Counter)
    #: by method and what it was about: in flight when the process was killed
    unknown: Counter[tuple[str, str]] = field(default_factory=Counter)
    requests: int = 0
    kills: int = 0
    slowest: float = 0.0
    errors: list[str] = field(default_factory=list)

    def add(self, other: Book) -> None:
        for name, mine in vars(self).items():
            theirs = getattr(other, name)
            if isinstance(mine, list):
                mine.extend(theirs)
            elif isinstance(mine, dict | set):
                mine.update(theirs)
            else:
                setattr(self, name, max(mine, theirs) if name == "slowest" else mine + theirs)


class Follower:
    """The events of one session as a subscriber gets them."""

    def __init__(self, session: str) -> None:
        self.session = session
        self.seen: list[str] = []
        self.broken: list[str] = []

    def take(self, message: dict[str, Any]) -> None:
        event = message["params"].get("event")
        if message["method"] != "event" or event["id"] != len(self.seen) + 1:
            self.broken.append(f"{self.session}: {str(message)[:200]} after event {len(self.seen)}")
        else:
            self.seen.append(event["data"])


class Worker:
    """A thread that writes through a process of its own, and kills it when it is told to."""

    def __init__(self, number: int, start: Callable[[], Sidecar], pick: random.Random) -> None:
        self.number, self.start, self.pick = number, start, pick
        self.sidecar = start()
        self.must_kill = threading.Event()
        self.count = 0

    def run(self, epoch: str, until: float) -> None:
        self.book, self.epoch, self.began = Book(), epoch, time.monotonic()
        self.follower = Follower(f"{epoch}-s{self.number % SESSIONS}")
        #: the counters as they were read last: value and revision
        self.read: dict[str, tuple[int, int]] = {}
        try:
            self._subscribe()
            while time.monotonic() < until:
                self._batch()
        except Exception as error:  # a thread's own would be lost
            self.book.errors.append(f"worker {self.number}: {type(error).__name__}: {error}")

    def catch_up(self, last: int) -> None:
        """Reads until the follower has seen all events."""
        deadline = time.monotonic() + PATIENCE
        while len(self.follower.seen) < last and not self.follower.broken:
            if time.monotonic() > deadline:
                self.follower.broken.append(f"{self.follower.session}: {len(self.follower.seen)} of {last} events came")
                break
            self.follower.take(self.sidecar.receive_notification())
        self.sidecar.call("unsubscribe", subscription_id=self.subscription)

    def _subscribe(self) -> None:
        answer = self.sidecar.call(
            "subscribe_events", session_id=self.follower.session, after_event_id=len(self.follower.seen))
        self.subscription = answer["subscription_id"]
        if answer["gap"] or answer["cursor_ahead"]:
            self.follower.broken.append(f"{self.follower.session}: {answer} after event {len(self.follower.seen)}")

    def _batch(self) -> None:
        calls = self._calls()
        waiting = deque(calls)
        began = time.monotonic()
        kill = self.must_kill.is_set()
        self.sidecar.send(*(request(method, number, **params) for number, (method, params) in enumerate(calls)))
        for _ in range(self.pick.randrange(len(calls)) if kill else len(calls)):
            self._answered(*waiting.popleft(), self.sidecar.receive_answer())
        if not kill:
            self.book.slowest = max(self.book.slowest, time.monotonic() - began)
        self._follow(self.sidecar.notifications)
        if kill:
            self.must_kill.clear()
            self.sidecar.process.kill()
            self.sidecar.process.wait()
            for message in self.sidecar.remains():
                if "method" in message:
                    self._follow([message])
                else:
                    self._answered(*waiting.popleft(), message)
            for method, params in waiting:
                self.book.unknown[method, about(params)] += 1
            self.sidecar.kill()
            self.sidecar = self.start()
            self.book.kills += 1
            self._subscribe()

    def _follow(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            self.follower.take(message)
        messages.clear()

    def _calls(self) -> list[tuple[str, dict[str, Any]]]:
        """A round: what all workers do, in some order."""
        passed = time.monotonic() - self.began
        calls: list[tuple[str, dict[str, Any]]] = []
        for _ in range(self.pick.randrange(1, 12)):
            session = f"{self.epoch}-s{self.pick.randrange(SESSIONS)}"
            data = self._name() + "x" * self.pick.randrange(200)
            calls.append(("store_event", {"session_id": session, "data": data}))
        for key in (f"{self.epoch}-c0", f"{self.epoch}-c1"):
            if key in self.read:
                value, revision = self.read[key]
                calls.append(("put_value", {
                    "collection": "c", "key": key, "value": value + 1, "if_revision": revision}))  # fmt: skip
            calls.append(("get_value", {"collection": "c", "key": key}))
        nonce = f"{self.epoch}-{int(passed * 100)}"
        calls.append(("consume_nonce", {"nonce": nonce, "ttl": 86_400_000}))
        calls.append(("check_rate_limit", {"key": f"{self.epoch}-r{int(passed) // 5}", **RATE}))
        calls.append(("append_log_entry", {
            "session_id": f"{self.epoch}-s0", "entry": {"message_id": f"m-{int(passed * 50)}"}}))  # fmt: skip
        calls.append(("enqueue_task_message", {"task_id": f"{self.epoch}-t", "message": self._name()}))
        calls.append(("dequeue_task_message", {"task_id": f"{self.epoch}-t"}))
        return calls

    def _name(self) -> str:
        self.count += 1
        return f"{self.number}/{self.count} "

    def _answered(self, method: str, params: dict[str, Any], answer: dict[str, Any]) -> None:
        book, subject = self.book, about(params)
        book.requests += 1
        if "error" in answer:
            if method != "put_value" or answer["error"]["data"]["kind"] != "concurrent_modification":
                book.errors.append(f"{method} of worker {self.number}: {answer['error']}")
            return
        result = answer["result"]
        match method:
            case "store_event":
                book.events[subject, result["id"]] = params["data"]
            case "put_value":
                book.updates[subject] += 1
            case "get_value":
                self.read[subject] = (result["value"], result["revision"])
            case "consume_nonce":
                book.firsts[subject] += result["first"]
            case "check_rate_limit":
                (book.allowed if result["allowed"] else book.denied)[subject] += 1
            case "append_log_entry":
                message = params["entry"]["message_id"]
                book.logged.add((subject, message, result["seq"]))
                book.appended[subject, message] += not result["duplicate"]
            case "enqueue_task_message":
                book.enqueued.add(params["message"])
            case "dequeue_task_message":
                if result["exists"]:
                    book.dequeued[result["message"]] += 1


def about(params: dict[str, Any]) -> str:
    """What a call is about."""
    return str(next(params[name] for name in ("session_id", "task_id", "nonce", "key") if name in params))


class Slow(threading.Thread):
    """Subscribes to all sessions of an epoch and reads with a pause after each line, or not at all until the end."""

    def __init__(self, sidecar: Sidecar, epoch: str, pause: float | None) -> None:
        super().__init__()
        self.sidecar, self.pause = sidecar, pause
        self.followers = {name: Follower(name) for name in (f"{epoch}-s{n}" for n in range(SESSIONS))}
        self.lasts: dict[str, int] = {}
        self.is_over = threading.Event()
        self.names: dict[str, str] = {}
        for name in self.followers:
            self.names[sidecar.call("subscribe_events", session_id=name)["subscription_id"]] = name

    def run(self) -> None:
        try:
            while self.pause is not None and not self.is_over.wait(self.pause):
                self._take()
            self.is_over.wait()
            while any(len(follower.seen) < self.lasts[name] and not follower.broken
                      for name, follower in self.followers.items()):  # fmt: skip
                self._take()
            for subscription in self.names:
                self.sidecar.call("unsubscribe", subscription_id=subscription)
        except Exception as error:  # a thread's own would be lost
            next(iter(self.followers.values())).broken.append(f"{type(error).__name__}: {error}")

    def _take(self) -> None:
        message = self.sidecar.receive_notification()
        self.followers[self.names[message["params"]["subscription_id"]]].take(message)


class Trial:
    """All epochs on one store, which is a file, or has an address."""

    def __init__(self, form: Form, database: Path | str) -> None:
        self.form = form
        self.pick = random.Random(f"many processes {form.seed}")
        self.database = database
        self.broken: dict[str, list[str]] = {name: [] for name in PROMISES}
        self.total = Book()
        self.seen = 0
        self.largest_log = 0
        self.reader = self.start()
        self.slow = [self.start(), self.start()]
        self.workers = [Worker(number, self.start, random.Random(self.pick.random())) for number in range(WORKERS)]

    def start(self) -> Sidecar:
        return Sidecar(*OPTIONS, database=self.database, binary=str(self.form.binary))

    def end(self) -> None:
        for sidecar in [self.reader, *self.slow, *(worker.sidecar for worker in self.workers)]:
            sidecar.kill()

    def epoch(self, number: int) -> None:
        name = f"e{number}"
        for count in range(SESSIONS):
            self.reader.call("create_session", session_id=f"{name}-s{count}", status="active")
        self.reader.call("create_task", task_id=f"{name}-t")
        for count in range(2):
            self.reader.call("put_value", collection="c", key=f"{name}-c{count}", value=0)
        slow = [Slow(sidecar, name, pause) for sidecar, pause in zip(self.slow, (None, 0.002))]
        until = time.monotonic() + EPOCH_SECONDS
        threads = [threading.Thread(target=worker.run, args=(name, until)) for worker in self.workers]
        for thread in [*slow, *threads]:
            thread.start()
        self._kill_until(until)
        for thread in threads:
            thread.join()
        book = Book()
        for worker in self.workers:
            book.add(worker.book)
        self._judge(name, book, slow)
        self.total.add(Book(requests=book.requests, kills=book.kills, slowest=book.slowest))

    def _kill_until(self, until: float) -> None:
        next_kill = time.monotonic() + KILLS
        while time.monotonic() < until:
            time.sleep(0.1)
            if isinstance(self.database, Path):
                log = self.database.with_name(self.database.name + "-wal")
                self.largest_log = max(self.largest_log, log.stat().st_size)
            if time.monotonic() >= next_kill:
                self.pick.choice(self.workers).must_kill.set()
                next_kill += KILLS

    # --- What is there

    def _judge(self, name: str, book: Book, slow: list[Slow]) -> None:
        stored = {f"{name}-s{count}": self._events(f"{name}-s{count}") for count in range(SESSIONS)}
        self._judge_events(stored, book)
        for reader in slow:
            reader.lasts = {session: len(events) for session, events in stored.items()}
            reader.is_over.set()
        for worker in self.workers:
            worker.catch_up(len(stored[worker.follower.session]))
        for reader in slow:
            reader.join()
        followers = [worker.follower for worker in self.workers]
        for follower in [*followers, *(follower for reader in slow for follower in reader.followers.values())]:
            self.seen += len(follower.seen)
            self.broken["followers"] += follower.broken
            if not follower.broken and follower.seen != stored[follower.session]:
                self.broken["followers"].append(f"{follower.session}: other events came than are there")
        self._judge_races(name, book)
        self._judge_log(name, book)
        self._judge_queue(name, book)
        self.broken["answers"] += book.errors
        if not (said := self.reader.call("check_integrity"))["ok"]:
            self.broken["answers"].append(f"check_integrity says {said['problems'][:3]}")
        for session in stored:
            self.reader.call("delete_session", session_id=session)

    def _events(self, session: str) -> list[str]:
        events: list[str] = []
        has_more = True
        while has_more:
            page = self.reader.call("get_events_after", session_id=session, after_event_id=len(events), limit=10_000)
            ids = [event["id"] for event in page["events"]]
            if ids != list(range(len(events) + 1, len(events) + len(ids) + 1)):
                self.broken["events"].append(f"{session}: ids {ids[:5]} … {ids[-5:]} after {len(events)}")
            events += [event["data"] for event in page["events"]]
            has_more = page["has_more"]
        return events

    def _judge_events(self, stored: dict[str, list[str]], book: Book) -> None:
        for (session, id), data in book.events.items():
            if id > len(stored[session]) or stored[session][id - 1] != data:
                self.broken["events"].append(f"{session}: event {id} was answered and is not there")
        for session, events in stored.items():
            answered = sum(1 for place in book.events if place[0] == session)
            if not answered <= len(events) <= answered + book.unknown["store_event", session]:
                self.broken["events"].append(f"{session}: {answered} events were answered, {len(events)} are there")
            if len(set(events)) != len(events):
                self.broken["events"].append(f"{session}: an event is there twice")

    def _judge_races(self, name: str, book: Book) -> None:
        for key in (f"{name}-c0", f"{name}-c1"):
            value = self.reader.call("get_value", collection="c", key=key)["value"]
            if not book.updates[key] <= value <= book.updates[key] + book.unknown["put_value", key]:
                self.broken["updates"].append(f"{key}: {book.updates[key]} updates were answered, the value is {value}")
        for nonce, firsts in book.firsts.items():
            if firsts > 1 or firsts == 0 and not book.unknown["consume_nonce", nonce]:
                self.broken["nonces"].append(f"{nonce} was new to {firsts} callers")
        for key, allowed in book.allowed.items():
            unknown = book.unknown["check_rate_limit", key]
            if allowed > RATE["limit"] or book.denied[key] and allowed + unknown < RATE["limit"]:
                self.broken["rates"].append(f"{key}: {allowed} were allowed, {book.denied[key]} denied")
        self.total.updates["all"] += book.updates.total()
        self.total.firsts["all"] += len(book.firsts)
        self.total.allowed["all"] += book.allowed.total()
        self.total.denied["all"] += book.denied.total()
        self.total.unknown["all", ""] += book.unknown.total()

    def _judge_log(self, name: str, book: Book) -> None:
        session, after, entries, has_more = f"{name}-s0", 0, {}, True
        while has_more:
            page = self.reader.call("load_log", session_id=session, after_seq=after)
            entries |= {entry["seq"]: entry["entry"]["message_id"] for entry in page["entries"]}
            after, has_more = page["next_after"], page["has_more"]
        if list(entries) != list(range(1, len(entries) + 1)) or len(set(entries.values())) != len(entries):
            self.broken["log"].append(f"{session}: numbers or messages repeat or are missing")
        for _, message, seq in book.logged:
            if entries.get(seq) != message:
                self.broken["log"].append(f"{session}: {message} was answered {seq}, where {entries.get(seq)} is")
        self.broken["log"] += [f"{session}: {message} was appended {count} times"
                               for (_, message), count in book.appended.items() if count > 1]  # fmt: skip
        self.total.appended["", ""] += len(entries)

    def _judge_queue(self, name: str, book: Book) -> None:
        left, has_more = [], True
        while has_more:
            page = self.reader.call("dequeue_all_task_messages", task_id=f"{name}-t")
            left, has_more = left + page["messages"], page["has_more"]
        handed = book.dequeued + Counter(left)
        self.broken["queue"] += [f"{message} was handed out {count} times"
                                 for message, count in handed.items() if count > 1]  # fmt: skip
        missing = book.enqueued - handed.keys()
        if len(missing) > book.unknown["dequeue_task_message", f"{name}-t"]:
            self.broken["queue"].append(f"{len(missing)} messages were never handed out: {sorted(missing)[:3]}")
        self.total.dequeued["all"] += handed.total()


def refused(binary: Path, database: Path, *options: str) -> str | None:
    """Starts one that must not start; says what it did instead of ending with 75."""
    done = subprocess.run(
        [binary, "--database", database, "--busy-timeout", "500ms", *options],
        input=line(request("session_count", 1)), capture_output=True, timeout=PATIENCE, env=clean_environment(),
        check=False,
    )  # fmt: skip
    if done.returncode == 75 and not done.stdout:
        return None
    return f"{' '.join(options) or 'without options'} beside another one ended with {done.returncode}: {done.stdout!r}"


def run(form: Form) -> list[Finding]:
    database = form.directory / "many.db"
    trial = Trial(form, database)
    attempts: list[str | None] = []
    try:
        race(trial, LONG_EPOCHS if form.is_long else EPOCHS)
        if trial.largest_log > LOG_BOUND:
            trial.broken["wal"].append(f"it had {trial.largest_log:,} bytes")
        attempts.append(refused(form.binary, database, "--exclusive"))
    finally:
        trial.end()
    alone = Sidecar("--exclusive", database=database, binary=str(form.binary))
    alone.call("session_count")
    attempts += [refused(form.binary, database, *options) for options in ((), ("--exclusive",))]
    alone.finish()
    trial.broken["exclusive"] += [text for text in attempts if text]
    tried = told(trial) | {
        "wal": f"at most {trial.largest_log / (1 << 20):.0f} MiB",
        "exclusive": f"{len(attempts)} attempts",
    }
    return [Finding(promise, tried[name], trial.broken[name]) for name, promise in PROMISES.items()]


def race(trial: Trial, epochs: int) -> None:
    """One epoch after the other, until all are over or something broke."""
    for number in range(epochs):
        trial.epoch(number)
        total = trial.total
        trial.form.say(f"epoch {number + 1} of {epochs}: {total.requests:,} requests, {total.kills} kills")
        if any(trial.broken.values()):
            break


def told(trial: Trial) -> dict[str, str]:
    """What was tried against each promise, whatever the store is on."""
    total = trial.total
    return {
        "events": f"{WORKERS} processes, {total.requests:,} requests, {total.kills} kills",
        "updates": f"{total.updates['all']:,} updates of values",
        "nonces": f"{total.firsts['all']:,} nonces, raced for by {WORKERS} processes",
        "rates": f"{total.allowed['all']:,} allowed, {total.denied['all']:,} denied",
        "log": f"{total.appended['', '']:,} messages, raced for by {WORKERS} processes",
        "queue": f"{total.dequeued['all']:,} messages",
        "followers": f"{trial.seen:,} events, {WORKERS} quick readers and {SESSIONS * len(trial.slow)} slow ones",
        "answers": f"{total.requests:,} answers; the slowest round took {total.slowest:.2f} s",
    }
