"""The rows of table `events` as what they hold: a row may have several events, each on a line of its own."""

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


def with_single_events(tables: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables, with a row for each event: how many share one is nobody's business."""
    return {name: single(rows) if name == "events" else rows for name, rows in tables.items()}
