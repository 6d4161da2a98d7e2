"""What the adapters for events compute is what every language computes, and what others verify."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from mcp_session_store.canonical_json import canonical
from mcp_session_store.event_names import (
    EventNames, Position, checked_event_id, checked_name, message_id, position_of, receiver_key,
)
from mcp_session_store.webhook_address import checked_url, is_public
from mcp_session_store.webhook_signature import decoded, signature

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "protocol/clients/events/vectors.json").read_text(encoding="utf-8"))


def test_the_vectors_that_all_languages_share() -> None:
    for vector in VECTORS["canonical"]:
        assert canonical(json.loads(vector["json"])) == vector["canonical"]
    for vector in VECTORS["cursors"]:
        position = Position(vector["epoch"], vector["id"])
        assert position.cursor(vector["topic"]) == vector["cursor"]
        assert position_of(vector["topic"], vector["cursor"]) == position
    for vector in VECTORS["foreign_cursors"]:
        found = position_of(vector["topic"], vector["cursor"])
        assert (found is not None and found.epoch != vector["epoch"]) == (vector["is"] == "other_epoch"), vector
        assert (found is None) == (vector["is"] == "unknown"), vector
    for vector in VECTORS["subscriptions"]:
        named = (vector["principal"], vector["url"], vector["name"], vector["arguments"])
        assert EventNames(vector["namespace"]).subscription_id(*named) == vector["id"], vector
    for vector in VECTORS["nonces"]:
        assert EventNames(vector["namespace"]).nonce(vector["name"], vector["event_id"]) == vector["nonce"]
    for vector in VECTORS["receivers"]:
        assert receiver_key(vector["principal"], vector["url"]) == vector["key"]
    for vector in VECTORS["messages"]:
        assert message_id(vector["subscription_id"], vector["event_id"]) == vector["message_id"]
    for vector in VECTORS["signatures"]:
        made = signature(vector["secrets"], vector["id"], vector["timestamp"], vector["body"].encode())
        assert made == vector["signature"]
    for vector in VECTORS["secrets"]:
        assert (decoded(vector["secret"]) is not None) == vector["valid"], vector
    for vector in VECTORS["addresses"]:
        assert is_public(vector["address"]) == vector["public"], vector


def test_the_order_of_members_makes_no_other_subscription_and_everything_else_does() -> None:
    names = EventNames()
    one = names.subscription_id("p", "https://e.test", "n", {"a": 1, "b": 2.0})
    assert one == names.subscription_id("p", "https://e.test", "n", {"b": 2, "a": 1})
    others = {
        names.subscription_id("q", "https://e.test", "n", {"a": 1, "b": 2}),
        names.subscription_id(None, "https://e.test", "n", {"a": 1, "b": 2}),
        names.subscription_id("p", "https://e.test/", "n", {"a": 1, "b": 2}),
        names.subscription_id("p", "https://e.test", "m", {"a": 1, "b": 2}),
        names.subscription_id("p", "https://e.test", "n", {"a": 1, "b": "2"}),
        EventNames("other").subscription_id("p", "https://e.test", "n", {"a": 1, "b": 2}),
    }
    assert len(others) == 6 and one not in others


def test_what_is_signed_passes_the_verifier_of_standard_webhooks() -> None:
    secrets = [vector["secret"] for vector in VECTORS["secrets"] if vector["valid"]]
    now = int(time.time())
    body = '{"data":"ü 🙂"}'.encode()
    headers = {"webhook-id": "evt_1", "webhook-timestamp": str(now),
               "webhook-signature": signature(secrets[:2], "evt_1", now, body)}
    for secret in secrets[:2]:
        Webhook(secret).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secrets[2]).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secrets[0]).verify(body + b" ", headers)
    theirs = Webhook(secrets[0]).sign("evt_1", datetime.fromtimestamp(now, timezone.utc), body.decode())
    assert theirs == signature(secrets[:1], "evt_1", now, body)


def test_names_that_cannot_be_are_refused_in_words() -> None:
    for namespace in ("", "a/b", "ü", "a b", "x" * 41):
        with pytest.raises(ValueError, match="namespace"):
            EventNames(namespace)
    for name in ("", "a b", "ü", "x" * 129, "a\n"):
        with pytest.raises(ValueError, match="name"):
            checked_name(name)
    for event_id in ("", "a b", "ü", "x" * 201, "a\r\nx: y"):
        with pytest.raises(ValueError, match="eventId"):
            checked_event_id(event_id)


@pytest.mark.parametrize("url", [
    "http://example.com/", "ftp://example.com/", "https://", "https:///x", "https://u@example.com/",
    "https://u:p@example.com/", "https://example.com:99999/", "https://example.com:0/", "https://exa mple.com/",
    "https://example.com/\r\nx: y", "https://ex\u00e4mple.com/", "https://[::1/", "//example.com/", "", None, 5,
    "https://example.com/" + "x" * 2_048, "file:///etc/passwd",
])
def test_a_url_that_nothing_may_be_sent_to(url: object) -> None:
    with pytest.raises(ValueError, match="URL"):
        checked_url(url)


def test_a_url_that_something_may_be_sent_to() -> None:
    assert checked_url("https://example.com:8443/a?b=c").port == 8443
    assert checked_url("https://[2606:4700::1111]/").hostname == "2606:4700::1111"
    assert checked_url("http://127.0.0.1:1/", insecure=True).hostname == "127.0.0.1"
