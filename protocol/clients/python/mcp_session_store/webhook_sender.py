"""Sends events to webhooks: signed, repeated, given up in the end, and by one sender at a time among any number."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from typing import TYPE_CHECKING, Any, Literal

from .contract import ConcurrentModification
from .errors import StoreError
from .event_errors import EventsError, ProfileName, profile_of
from .event_names import Position, message_id
from .json_text import encode
from .topic import TopicPage
from .webhook_post import PostFailed, WebhookPost
from .webhook_subscriptions import headers_of, position_of_subscription, subscriptions_of
from .work_loop import Lease, WorkLoop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from .event_errors import LastError, Profile
    from .event_source import EventSource, EventType

#: milliseconds before each attempt but the first; each is up to a fifth longer, at random
DELAYS = (5_000, 30_000, 120_000, 480_000)
GIVE_UP_AFTER = 900_000
#: attempts at once, of one subscription and of all
PER_SUBSCRIPTION = 4
CONCURRENCY = 32
#: of an hour: a subscription with so many attempts, of which more than this share failed, is suspended
SUSPEND_FROM, SUSPEND_ABOVE = 100, 0.95
#: milliseconds until somebody who knows the type should look
NOT_MINE = 5_000
#: calls of one transaction, and events that are handed on at once
CALLS = 900
EVENTS = 100
#: statuses that are final for a delivery
FINAL = frozenset({410, 413})

#: milliseconds of failing after which a subscription without an end is given up, and seconds between two looks for one
ENDLESS_FAILURE = 259_200_000
TIDYING = 600.0

_ENDS: dict[str, EventsError] = {
    "not_found": EventsError("not_found", "The event type is no longer offered.", {"kind": "event"}),
    "forbidden": EventsError("forbidden", "You may not have these events any more."),
    "unsupported": EventsError("unsupported", "The event type has another schema now.", {"feature": "schema_changed"}),
    "failed": EventsError("not_found", "The receiver failed for too long.", {"kind": "subscription"}),
}

logger = logging.getLogger("mcp_session_store")


class WebhookSender:
    """Hands what was published to the subscriptions that it is for, and sends it.

        async with WebhookSender(source):
            …

    Run it in any number of servers, or in processes of its own: each delivery is made by one of them at a time, and by
    another when that is killed, so a receiver may be told twice, by the same `webhook-id`, and never not at all. What
    is published while none runs is sent by the next one. A sender whose source has no types sends only what others
    handed on.

    post: how receivers are reached.
    profile: which numbers errors have, and whether `gap` and `terminated` are sent.
    message_ids: whether `webhook-id` is the `eventId`, or one of each delivery's own.
    ordered: whether a subscription is sent one event at a time, in their order: one that fails holds up all behind it.
    delays: milliseconds before the second attempt and each after it; what fails after the last is given up.
    jitter: by how much of itself a delay may be longer, at random.
    cursors: whether deliveries have one; as in `WebhookSubscriptions`.
    gone: whether a receiver that answers 410 ends that delivery alone (`keep`), or its subscription (`end`).
    endless_failure: milliseconds after which a subscription without an end, whose receiver only failed, is given up.
    on_ended: is told of each subscription that lapsed, or was ended here, its record and why; perhaps twice.
    """

    def __init__(
        self, source: EventSource, *, post: WebhookPost | None = None, profile: ProfileName | Profile = "sep-3415",
        message_ids: Literal["event", "delivery"] = "event", ordered: bool = False,
        delays: Sequence[int] = DELAYS, jitter: float = 0.2, cursors: bool = True,
        give_up_after: int = GIVE_UP_AFTER, lease: int = 30_000, concurrency: int = CONCURRENCY,
        per_subscription: int = PER_SUBSCRIPTION, gone: Literal["keep", "end"] = "keep",
        endless_failure: int = ENDLESS_FAILURE, tidying: float = TIDYING,
        on_ended: Callable[[Mapping[str, Any], str], Awaitable[object]] | None = None,
    ) -> None:
        self.source = source
        self._store = source.store
        self._post = post or WebhookPost()
        self._profile = profile_of(profile)
        self._message_ids = message_ids
        self._ordered = ordered
        self._delays = tuple(delays)
        self._jitter = jitter
        self._cursors = cursors
        self._give_up_after = give_up_after
        self._gone = gone
        self._endless_failure = endless_failure
        self._tidying = tidying
        self._tidies: asyncio.Task[None] | None = None
        self._on_ended = on_ended
        names = source.names
        self.fanout = WorkLoop(self._store, names.fanout, self._hand_on, lease=lease, concurrency=4)
        self.deliveries = WorkLoop(
            self._store, names.deliveries, self._deliver, lease=lease, concurrency=concurrency,
            per_group=per_subscription, include_subscription=True)
        self.ended = WorkLoop(
            self._store, names.ended, self._end, lease=lease, concurrency=4, include_subscription=True)

    @property
    def _loops(self) -> list[WorkLoop]:
        return [*([self.fanout] if self.source.types else []), self.deliveries, self.ended]

    async def __aenter__(self) -> WebhookSender:
        for loop in self._loops:
            loop.start()
        self._tidies = asyncio.ensure_future(self._tidy())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self, patience: float = 5.0) -> None:
        """Begins nothing more, and lets what is on its way come to its end."""
        if self._tidies is not None:
            self._tidies.cancel()
            await asyncio.gather(self._tidies, return_exceptions=True)
        for loop in (self.fanout, self.deliveries, self.ended):
            await loop.stop(patience)

    # Handing on

    async def _hand_on(self, lease: Lease) -> None:
        """What was published of a type, to all subscriptions; or what one of them missed, to that."""
        kind = self.source.types.get(lease.payload["name"])
        if kind is None:
            await lease.settle("release", delay=NOT_MINE)
        elif "replay" in lease.payload:
            await self._replay(lease, kind)
        else:
            while await self._hand_on_page(lease, kind):
                pass

    async def _hand_on_page(self, lease: Lease, kind: EventType) -> bool:
        """Whether there may be more."""
        topic, fanned = self.source.topic(kind.name), await self._fanned(kind.name)
        page = await topic.after(fanned, limit=EVENTS)
        if page.position == fanned and not page.truncated:
            return False
        epoch = page.position.epoch
        calls: list[dict[str, Any]] = []
        async for subscription in subscriptions_of(self.source, kind.name):
            calls += self._wanted(kind, subscription, page, epoch)
            while len(calls) > CALLS:
                await lease.transact(None, *calls[:CALLS])
                del calls[:CALLS]
        calls.append({"method": "put_value", "params": {
            "collection": self.source.names.fanned, "key": kind.name,
            "value": {"epoch": epoch, "after": page.position.event_id}}})
        await lease.transact(None, *calls)
        return page.has_more

    async def _fanned(self, name: str) -> Position:
        """How far a type was handed on."""
        found: Any = (await self._store.get_value(self.source.names.fanned, key=name))["value"]
        if not isinstance(found, dict):
            return Position(await self.source.topic(name).ensure(), 0)
        return Position(found["epoch"], found["after"])

    async def _replay(self, lease: Lease, kind: EventType) -> None:
        subscription = await self._store.call(
            "get_event_subscription", {"subscription_id": lease.payload["replay"]})
        if subscription is None:
            return
        fanned = await self._fanned(kind.name)
        at = Position(subscription["data"]["epoch"], subscription["start_after"] or 0)
        while at.epoch == fanned.epoch and at.event_id < fanned.event_id:
            page = await self.source.topic(kind.name).after(at, limit=EVENTS)
            if page.position.epoch != at.epoch or page.position == at:
                return
            within = [event for event in page.events if event["id"] <= fanned.event_id]
            calls = self._wanted(
                kind, subscription, TopicPage(within, page.position, page.truncated, False, page.newest_id), at.epoch)
            await lease.transact(None, *calls)
            at = page.position

    def _wanted(
        self, kind: EventType, subscription: Mapping[str, Any], page: TopicPage, epoch: int,
    ) -> list[dict[str, Any]]:
        """What puts the events of a page that a subscription wants among its deliveries."""
        data = subscription["data"]
        starts_after = (subscription["start_after"] or 0) if data["epoch"] == epoch else 0
        calls = []
        if page.truncated and self._profile.envelopes and starts_after < page.position.event_id:
            gap = "msg_gap_" + hashlib.sha256(
                encode([subscription["subscription_id"], epoch, page.position.event_id]).encode()).hexdigest()[:32]
            calls.append(self._delivery(subscription, gap, {"control": {"type": "gap"}, "epoch": epoch}, None))
        for event in page.events:
            occurrence: Any = event["data"]
            if event["id"] > starts_after and kind.matches(data["arguments"], occurrence["data"], data["principal"]):
                work_id = f"{subscription['subscription_id']}/{occurrence['eventId']}"
                calls.append(self._delivery(
                    subscription, work_id, {"event": occurrence, "epoch": epoch}, event["id"]))
        return calls

    def _delivery(
        self, subscription: Mapping[str, Any], work_id: str, payload: dict[str, Any], position: int | None,
    ) -> dict[str, Any]:
        params: dict[str, Any] = {
            "queue": self.source.names.deliveries, "work_id": work_id, "payload": payload,
            "subscription_id": subscription["subscription_id"], "max_attempts": len(self._delays) + 1,
            "give_up_after": self._give_up_after}
        if position is not None:
            params["position"] = position
        if self._ordered:
            params["ordered"] = True
        return {"method": "enqueue_work", "params": params}

    # Sending

    async def _deliver(self, lease: Lease) -> None:
        subscription = lease.item["subscription"]
        if subscription is None:
            return  # it has ended, and its work with it
        data = subscription["data"]
        kind = self.source.types.get(data["name"])
        if kind is not None and not await self.source.may_have(kind, data["principal"], data["arguments"]):
            await self._store.call("delete_event_subscription", {
                "subscription_id": subscription["subscription_id"], "reason": "forbidden"})
            lease.lost = True
            return
        control = lease.payload.get("control")
        said = dict(control if control is not None else lease.payload["event"])
        named = said["eventId"] if control is None else lease.work_id
        if control is None and self._message_ids == "delivery":
            named = message_id(subscription["subscription_id"], named)
        position = position_of_subscription(subscription)
        is_known = self._cursors and position.epoch == lease.payload["epoch"]
        said["cursor"] = position.cursor(subscription["topic"]) if is_known else None
        error, is_final = await self._sent(lease, named, said)
        if error is None:
            await lease.settle("done")
        elif is_final:
            await lease.settle("dead", error=error)
            if is_final == 410 and self._gone == "end":
                await self._store.call("delete_event_subscription", {
                    "subscription_id": subscription["subscription_id"], "reason": "gone", "announce": False})
        elif lease.attempt > len(self._delays):
            await lease.settle("dead", error=error)
            await self._suspend_if_hopeless(subscription)
        else:
            delay = self._delays[lease.attempt - 1]
            await lease.settle("retry", delay=round(delay * random.uniform(1, 1 + self._jitter)), error=error)
            await self._suspend_if_hopeless(subscription)

    async def _sent(
        self, lease: Lease, named: str, said: Mapping[str, Any],
    ) -> tuple[LastError | None, int]:
        """What went wrong, and the status where that is final; None: it arrived."""
        subscription = lease.item["subscription"]
        body = encode(said).encode("utf-8", "backslashreplace")
        headers = headers_of(subscription["subscription_id"], named, secrets_of(subscription, lease.claimed_at), body)
        try:
            answer = await self._post(subscription["data"]["url"], headers, body)
        except PostFailed as failed:
            return failed.reason, 0
        except ValueError:
            return "connection_refused", 0  # a URL that was taken when more was allowed
        return answer.error, answer.status if answer.status in FINAL else 0

    async def _suspend_if_hopeless(self, subscription: Mapping[str, Any]) -> None:
        """Looks at it as it is now, as many may fail at once."""
        now = await self._store.call(
            "get_event_subscription", {"subscription_id": subscription["subscription_id"]})
        if now is None or not now["active"] or now["window"] is None:
            return
        attempts, failures = now["window"]["attempts"], now["window"]["failures"]
        if attempts < SUSPEND_FROM or failures <= attempts * SUSPEND_ABOVE:
            return
        try:
            await self._store.call("put_event_subscription", {
                "subscription_id": now["subscription_id"], "topic": now["topic"], "principal": now["principal"],
                "active": False, "if_revision": now["revision"]})
        except ConcurrentModification:
            return  # a refresh: it is to go on
        logger.warning("The subscription '%s' is suspended: %d of %d attempts failed.", now["subscription_id"],
                       failures, attempts)

    # The end

    async def _tidy(self) -> None:
        """Ends now and then what nothing else would: an endless subscription that is suspended has no deliveries."""
        while True:
            try:
                await self.tidy()
            except StoreError as error:
                if self._store.refusal is not None:
                    return
                logger.warning("Hopeless subscriptions are looked for later: %s", error)
            await asyncio.sleep(self._tidying)

    async def tidy(self) -> None:
        """Ends subscriptions without an end whose receivers have failed for too long. Raises StoreError."""
        now = (await self._store.health())["timestamp"]
        for name in list(self.source.types):
            async for subscription in subscriptions_of(self.source, name):
                failed = subscription["failed_since"]
                if subscription["expires_at"] is None and failed is not None and now - failed >= self._endless_failure:
                    await self._store.call("delete_event_subscription", {
                        "subscription_id": subscription["subscription_id"], "reason": "failed"})

    async def _end(self, lease: Lease) -> None:
        """Tells the receiver of a subscription that ended, where that was not its own wish."""
        subscription = lease.item["subscription"]
        if subscription is None:
            return
        reason = subscription["end_reason"]
        if self._on_ended is not None:
            await self._on_ended(subscription, reason)
        ended = _ENDS.get(reason)
        if ended is None or not self._profile.envelopes:
            return
        told: dict[str, Any] = {"code": self._profile.code(ended.refusal), "message": str(ended)}
        if ended.data is not None:
            told["data"] = ended.data
        named = "msg_terminated_" + hashlib.sha256(lease.work_id.encode()).hexdigest()[-32:]
        error, is_final = await self._sent(lease, named, {"type": "terminated", "error": told})
        if error is None:
            return
        if is_final or lease.attempt > len(self._delays):
            await lease.settle("dead", error=error)
        else:
            await lease.settle("retry", delay=self._delays[lease.attempt - 1], error=error)


def secrets_of(subscription: Mapping[str, Any], now: int) -> list[str]:
    """Those that sign now, by the store's clock."""
    found = [subscription["secret"]]
    until = subscription["previous_secret_until"]
    if subscription["previous_secret"] is not None and until is not None and until > now:
        found.append(subscription["previous_secret"])
    return found
