"""Subscriptions to events by webhook: `events/subscribe` and `events/unsubscribe`, kept for as long as granted."""

from __future__ import annotations

import hmac
import json
import logging
import secrets
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from .contract import (
    MaxEventSubscriptionsReached, MaxPrincipalEventSubscriptionsReached, MaxPrincipalWorkReached, MaxWorkReached,
)
from .event_errors import EventsError, LastError, invalid
from .event_names import Position, receiver_key
from .event_source import moment
from .json_text import encode
from .webhook_address import checked_url
from .webhook_post import PostFailed, WebhookPost
from .webhook_signature import decoded, signature

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .event_source import EventSource, EventType

#: milliseconds
TTL = 86_400_000
SHORTEST_TTL = 300_000
LONGEST_TTL = 604_800_000
VERIFIED = 86_400_000
SECRET_GRACE = 300_000
#: challenges that one host is sent in a minute
CHALLENGES = 30
#: subscriptions of one principal
MAX_SUBSCRIPTIONS = 1_000

EndReason = Literal["not_found", "forbidden", "unsupported"]

_FULL = (MaxEventSubscriptionsReached, MaxPrincipalEventSubscriptionsReached, MaxPrincipalWorkReached, MaxWorkReached)

logger = logging.getLogger("mcp_session_store")


class WebhookSubscriptions:
    """Answers `events/subscribe` and `events/unsubscribe`; `WebhookSender` sends what they ask for.

        webhooks = WebhookSubscriptions(source)
        events = EventsExtension(source, webhooks=webhooks)

    A subscription is on disk before it is answered, with its secret, and is there again after a restart, for as long as
    it was granted. A receiver must echo a challenge first.

    post: how receivers are reached.
    anonymous: whether who is not authenticated may subscribe.
    ttl, shortest, longest: milliseconds: granted unless asked, and the bounds of what is granted.
    endless: whether a subscription without an end is granted to who asks for one.
    verified: milliseconds for which a receiver that proved itself is trusted.
    secret_grace: milliseconds for which the secret before a new one signs along.
    trusts: says of a URL that it needs no challenge: an allowlist.
    max_subscriptions: of one principal, of all types; 0: no cap.
    cursors: whether clients are told any, with which they may ask for what was before; without, it is always null.
    """

    def __init__(
        self, source: EventSource, *, post: WebhookPost | None = None, anonymous: bool = False, ttl: int = TTL,
        shortest: int = SHORTEST_TTL, longest: int = LONGEST_TTL, endless: bool = False, verified: int = VERIFIED,
        secret_grace: int = SECRET_GRACE, trusts: Callable[[str], bool] = lambda url: False,
        max_subscriptions: int = MAX_SUBSCRIPTIONS, cursors: bool = True,
    ) -> None:
        if not 0 < shortest <= ttl <= longest:
            raise ValueError("shortest, ttl and longest: milliseconds, more than 0, in this order.")
        self.source = source
        self.post = post or WebhookPost()
        self._store = source.store
        self._anonymous = anonymous
        self._ttl = ttl
        self._shortest = shortest
        self._longest = longest
        self._endless = endless
        self._verified = verified
        self._secret_grace = secret_grace
        self._trusts = trusts
        self._max_subscriptions = max_subscriptions
        self._cursors = cursors

    async def subscribe(self, principal: str | None, params: Mapping[str, Any]) -> dict[str, Any]:
        """The result of `events/subscribe`. Raises EventsError, StoreError."""
        kind, url, secret, arguments = await self._asked(principal, params)
        ttl = self._grant(params)
        cursor, max_age = params.get("cursor"), params.get("maxAgeMs")
        if cursor is not None and not isinstance(cursor, str):
            raise invalid("cursor must be a string or null.")
        if max_age is not None and (isinstance(max_age, bool) or not isinstance(max_age, int) or max_age < 0):
            raise invalid("maxAgeMs must be a whole number, at least 0.")
        names = self.source.names
        subscription_id = names.subscription_id(principal, url, kind.name, arguments)
        known = await self._store.call(
            "get_event_subscription", {"subscription_id": subscription_id, "principal": principal})
        if known is None:
            await self._check_quota(principal)
        await self._verify(principal, url, secret, subscription_id)
        start, truncated = await self.source.topic(kind.name).start(cursor, max_age)
        fresh = {"principal": principal, "url": url, "name": kind.name, "arguments": arguments, "epoch": start.epoch}
        put: dict[str, Any] = {
            "subscription_id": subscription_id, "topic": names.topic(kind.name), "principal": principal,
            "secret": secret, "secret_grace": self._secret_grace, "start_after": start.event_id, "active": True,
            "ttl": ttl or 0, "ended_queue": names.ended}
        remembering = self._remembering(principal, url, ttl)
        replaying = self._replaying(kind.name, subscription_id)
        is_new = {"method": "put_event_subscription", "params": {**put, "data": fresh}}
        if known is None:
            calls: list[Any] = [is_new, remembering, replaying]
        else:
            calls = [{"method": "put_event_subscription", "params": {**put, "data": known["data"]}}, remembering]
        try:
            found = (await self._store.transaction(calls))["results"][0]
        except _FULL as error:
            raise EventsError("resource_exhausted", "There are too many subscriptions.",
                              {"limit": "subscriptions", "max": error.data.get("limit")}) from None
        if known is not None and found["created"]:
            known = None  # it lapsed in this moment
            await self._store.transaction([is_new, replaying])  # type: ignore[list-item]
        subscription = found["subscription"]
        if known is not None:
            start, truncated = await self._watermark(subscription), False
        return {
            "id": subscription_id,
            "refreshBefore": None if subscription["expires_at"] is None else iso(subscription["expires_at"]),
            "cursor": start.cursor(names.topic(kind.name)) if self._cursors else None, "truncated": truncated,
            **({} if known is None else {"deliveryStatus": status_of(known)}),
        }

    async def unsubscribe(self, principal: str | None, params: Mapping[str, Any]) -> None:
        """Ends it, with all that is still to be sent. Raises EventsError, StoreError."""
        delivery, name = params.get("delivery"), params.get("name")
        arguments = params.get("arguments")
        arguments = {} if arguments is None else arguments
        url = delivery.get("url") if isinstance(delivery, dict) else None
        if not isinstance(url, str) or not isinstance(name, str) or not isinstance(arguments, dict):
            raise invalid("name, arguments and delivery.url say which subscription ends.")
        try:
            subscription_id = self.source.names.subscription_id(principal, url, name, arguments)
        except (TypeError, ValueError):
            raise invalid("The arguments are no JSON.") from None
        ended = await self._store.call("delete_event_subscription", {
            "subscription_id": subscription_id, "principal": principal, "reason": "unsubscribed", "announce": False})
        if not ended["deleted"]:
            raise EventsError("not_found", "There is no such subscription.", {"kind": "subscription"})

    async def end_all(self, name: str, reason: EndReason) -> int:
        """Ends all subscriptions to a type, whosever they are, and has it told to their receivers."""
        ended = 0
        async for subscription in subscriptions_of(self.source, name):
            ended += (await self._store.call("delete_event_subscription", {
                "subscription_id": subscription["subscription_id"], "reason": reason}))["deleted"]
        return ended

    async def _asked(
        self, principal: str | None, params: Mapping[str, Any],
    ) -> tuple[EventType, str, str, dict[str, Any]]:
        kind = self.source.offered(params.get("name"), "webhook")
        if principal is None and not self._anonymous:
            raise EventsError("forbidden", "Only who is authenticated may subscribe.")
        delivery = params.get("delivery")
        if not isinstance(delivery, dict) or delivery.get("mode") != "webhook":
            raise invalid("delivery must be an object whose mode is 'webhook'.")
        secret = delivery.get("secret")
        if decoded(secret) is None or not isinstance(secret, str):
            raise invalid("delivery.secret must be 'whsec_' and the base64 of 24 to 64 bytes.")
        url = delivery.get("url")
        try:
            checked_url(url, insecure=self.post.insecure)
        except ValueError as error:
            raise invalid(f"delivery.url: {error}") from None
        assert isinstance(url, str)
        return kind, url, secret, await self.source.admit(kind, principal, params.get("arguments"))

    def _grant(self, params: Mapping[str, Any]) -> int | None:
        """Milliseconds; None: it does not end."""
        wish = params.get("ttlMs", self._ttl)
        if wish is None:
            return None if self._endless else self._longest
        if isinstance(wish, bool) or not isinstance(wish, (int, float)) or not wish > 0:
            raise invalid("ttlMs must be a number of milliseconds, more than 0, or null.")
        return int(max(self._shortest, min(wish, self._longest)))

    async def _check_quota(self, principal: str | None) -> None:
        if not self._max_subscriptions:
            return
        count, cursor = 0, None
        while True:
            page = await self._store.call("list_event_subscriptions", {
                "principal": principal, "limit": 1_000, **({} if cursor is None else {"cursor": cursor})})
            count += sum(found["principal"] == principal for found in page["subscriptions"])
            cursor = page["next_cursor"]
            if count >= self._max_subscriptions:
                raise EventsError("resource_exhausted", "There are too many subscriptions.",
                                  {"limit": "subscriptions", "max": self._max_subscriptions})
            if cursor is None:
                return

    # Receivers

    async def _verify(self, principal: str | None, url: str, secret: str, subscription_id: str) -> None:
        """Lets a receiver prove itself, unless it did. Raises EventsError when it does not."""
        if self._trusts(url):
            return
        found = await self._store.get_value(
            self.source.names.verified, key=receiver_key(principal, url), principal=principal)
        if found["exists"]:
            return
        host = urlsplit(url).hostname
        allowed = await self._store.check_rate_limit(
            f"{self.source.names.namespace}/challenges/{host}", limit=CHALLENGES, window=60_000)
        if not allowed["allowed"]:
            raise EventsError("resource_exhausted", "This host is asked too often.",
                              {"limit": "challenges", "max": CHALLENGES})
        challenge = secrets.token_urlsafe(32)
        body = encode({"type": "verification", "challenge": challenge}).encode()
        headers = headers_of(subscription_id, "msg_verification_" + secrets.token_hex(16), [secret], body)
        reason: LastError = "challenge_failed"
        try:
            answer = await self.post(url, headers, body, read=True)
            if answer.error is None and echoes(answer.body, challenge):
                return
        except PostFailed as failed:
            reason = failed.reason
        raise EventsError("callback_endpoint_error", "The receiver did not prove itself.", {"reason": reason})

    def _remembering(self, principal: str | None, url: str, ttl: int | None) -> dict[str, Any]:
        until = {} if ttl is None else {"ttl": max(ttl, self._verified)}
        return {"method": "put_value", "params": {
            "collection": self.source.names.verified, "key": receiver_key(principal, url), "principal": principal,
            "value": {"verified_at": int(time.time() * 1_000)}, **until}}

    # Where it is

    def _replaying(self, name: str, subscription_id: str) -> dict[str, Any]:
        """What hands to a new subscription what was handed to others before it was there."""
        return {"method": "enqueue_work", "params": {
            "queue": self.source.names.fanout, "group": name, "ordered": True,
            "work_id": f"{name}/replay/{secrets.token_hex(16)}",
            "payload": {"name": name, "replay": subscription_id}}}

    async def _watermark(self, subscription: Mapping[str, Any]) -> Position:
        """All at or before it was sent, or given up; it moves in quiet times too."""
        position = position_of_subscription(subscription)
        names, name = self.source.names, subscription["data"]["name"]
        fanned = (await self._store.get_value(names.fanned, key=name))["value"]
        if isinstance(fanned, dict) and fanned["epoch"] == position.epoch and fanned["after"] > position.event_id:
            for status in ("waiting", "leased"):
                open_work = await self._store.call("list_work", {
                    "queue": names.deliveries, "subscription_id": subscription["subscription_id"], "status": status,
                    "limit": 1})
                if open_work["work"]:
                    return position
            return Position(position.epoch, fanned["after"])
        return position


def position_of_subscription(subscription: Mapping[str, Any]) -> Position:
    """The position up to which all of a subscription is settled."""
    reached = max(subscription["watermark"] or 0, subscription["start_after"] or 0)
    return Position(subscription["data"]["epoch"], reached)


async def subscriptions_of(source: EventSource, name: str) -> Any:
    """All subscriptions to a type, whosever they are, without their secrets."""
    cursor = None
    while True:
        page = await source.store.call("list_event_subscriptions", {
            "topic": source.names.topic(name), "limit": 1_000, **({} if cursor is None else {"cursor": cursor})})
        for subscription in page["subscriptions"]:
            yield subscription
        cursor = page["next_cursor"]
        if cursor is None:
            return


def headers_of(subscription_id: str, message_id: str, secrets_: list[str], body: bytes) -> dict[str, str]:
    """Of one attempt, signed now."""
    now = int(time.time())
    return {"Content-Type": "application/json", "webhook-id": message_id, "webhook-timestamp": str(now),
            "webhook-signature": signature(secrets_, message_id, now, body), "X-MCP-Subscription-Id": subscription_id}


def echoes(body: bytes, challenge: str) -> bool:
    """Whether the answer to a challenge is the challenge, told in the time that any other answer takes."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return False
    echoed = found.get("challenge") if isinstance(found, dict) else None
    return isinstance(echoed, str) and hmac.compare_digest(
        echoed.encode("utf-8", "backslashreplace"), challenge.encode())


def status_of(subscription: Mapping[str, Any]) -> dict[str, Any]:
    """`deliveryStatus`, in the words of the extension: how it was before this refresh."""
    last = subscription["last_success_at"]
    status: dict[str, Any] = {
        "active": subscription["active"], "lastDeliveryAt": None if last is None else iso(last),
        "lastError": subscription["last_error"],
    }
    if subscription["failed_since"] is not None:
        status["failedSince"] = iso(subscription["failed_since"])
    return status


def iso(milliseconds: int) -> str:
    """RFC 3339 in UTC, with milliseconds; what is later than the year 9999 is its end."""
    last = 253_402_300_799_999
    return moment(datetime.fromtimestamp(min(milliseconds, last) // 1_000, timezone.utc)).replace(
        ".000Z", f".{min(milliseconds, last) % 1_000:03d}Z")
