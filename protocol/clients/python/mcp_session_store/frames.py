"""Events as text/event-stream, made here as the program makes them, where it cannot read what they say."""

from __future__ import annotations

import re
from typing import Any

from .json_text import encode

#: types that become comments without an id, which would replace the client's Last-Event-ID
HEARTBEATS = frozenset({"ping", "keepalive"})
#: what would begin a field of its own in a type
LINE_ENDS = re.compile("\r\n|[\n\r\v\f\x85\u2028\u2029]")


def frames_of(page: dict[str, Any], *, is_typed: bool) -> dict[str, Any]:
    """A page of events with `frames` in the place of them."""
    frames = "".join(frame_of(event, is_typed=is_typed) for event in page["events"])
    return {"frames": frames, **{name: value for name, value in page.items() if name != "events"}}


def notice_of(kind: str, told: dict[str, Any]) -> str:
    """What a subscription tells and is no event, as a frame."""
    if kind == "heartbeat":
        return ": keepalive\n\n"
    data = {name: value for name, value in told.items() if name != "subscription_id"}
    return f"event: {kind}\ndata: {encode(data)}\n\n"


def frame_of(event: dict[str, Any], *, is_typed: bool) -> str:
    event_type = event["event_type"]
    if event_type in HEARTBEATS:
        return ": keepalive\n\n"
    name = LINE_ENDS.sub(" ", event_type) if is_typed else "message"
    # Half a surrogate pair is an escape, as on the wire; line ends within a string are too.
    data = encode(event["data"]).encode("utf-8", "backslashreplace").decode()
    retry = "" if event["retry"] is None else f"retry: {event['retry']}\n"
    return f"id: {event['id']}\nevent: {name}\ndata: {data}\n{retry}\n"
