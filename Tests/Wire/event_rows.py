"""The rows of tables `events` and `log_entries` as what they hold: a row may have several, each on a line."""

from collections.abc import Iterable
from typing import Any


def single(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """What `SELECT * FROM events` gives, as a row for each event: session, id, stream, type, time, retry, payload."""
    events: list[tuple[Any, ...]] = []
    for session, last, stream, kind, time, retry, data, first, times in rows:
        if first is None:
            assert times is None, "a lone event has the time of its row"
            events.append((session, last, stream, kind, time, retry, data))
            continue
        lines, later = data.split("\n"), [int(text) for text in times.split(" ")] if times else None
        assert len(lines) == last - first + 1 > 1, f"{len(lines)} lines for the events {first} to {last}"
        assert later is None or (len(later) == len(lines) and any(later)), f"{times!r} for {len(lines)} events"
        for index, line in enumerate(lines):
            moment = time + (later[index] if later else 0)
            events.append((session, first + index, stream, kind, moment, retry, line))
    return events


def single_entries(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """What `SELECT * FROM log_entries` gives, as a row for each entry: session, seq, kind, entry."""
    entries: list[tuple[Any, ...]] = []
    for session, last, kind, entry, first in rows:
        lines = [entry] if first is None else entry.split("\n")
        assert first is None or len(lines) == last - first + 1 > 1, f"{len(lines)} lines for {first} to {last}"
        entries += ((session, last - len(lines) + 1 + index, kind, line) for index, line in enumerate(lines))
    return entries


def with_single_records(tables: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables, with a row for each event and log entry: how many share one is nobody's business."""
    singles = {"events": single, "log_entries": single_entries}
    return {name: singles[name](rows) if name in singles else rows for name, rows in tables.items()}
