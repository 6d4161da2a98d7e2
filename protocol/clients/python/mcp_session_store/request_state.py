"""Request state of MCP 2026-07-28 that is used once: what a client sends again is refused, whichever process it asks.

The SDK seals request state, so that it comes back as it was minted; that it comes back only once is left to the server.
"""

from __future__ import annotations

import hashlib
import json
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS
from mcp_types.methods import INPUT_REQUIRED_METHODS

from .contract import RequirementFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
    from mcp.server.request_state import RequestStateCodec

    from .contract import TransactionCalls
    from .store import Store


class SingleUse:
    """Remembers what was used, on disk, for all processes on the file, whatever language they are written in.

    ttl: milliseconds for which it is remembered: at least as long as what is used is valid.
    """

    def __init__(self, store: Store, *, ttl: int) -> None:
        self._store = store
        self._ttl = ttl

    async def consume(self, token: str, principal: str | None, *, tenant_id: str | None = None) -> bool:
        """True exactly once for a token of a principal; None is the anonymous caller."""
        nonce = nonce_of(token, tenant_id)
        return (await self._store.consume_nonce(nonce, ttl=self._ttl, principal=principal))["first"]

    async def transact(
        self, token: str, principal: str | None, calls: Sequence[TransactionCalls], *, tenant_id: str | None = None,
    ) -> list[Any] | None:
        """Uses the token and makes the calls in one transaction; their results, or None, and nothing done, when it was
        used before. An error of a call takes everything back: the token can be used again then.

            done = await single_use.transact(state["id"], principal, [{"method": "put_value", "params": {…}}])
        """
        use: TransactionCalls = {
            "method": "consume_nonce", "require": True,
            "params": {"nonce": nonce_of(token, tenant_id), "ttl": self._ttl, "principal": principal},
        }
        try:
            results = (await self._store.transaction([use, *calls]))["results"]
        except RequirementFailed as error:
            if error.data.get("call_index") == 0:
                return None
            raise
        return results[1:]


class SingleUseState:
    """Lets each sealed request state through once: a codec for the SDK, and the middleware that looks it up.

        once = SingleUseState(SingleUse(store, ttl=600_000), AESGCMRequestStateCodec([secret]))
        server = MCPServer("notes", request_state_security=RequestStateSecurity(codec=once, ttl=600), middleware=[once])

    It must be given in both places, first among the middleware. Only what the SDK has verified is remembered, so nobody
    can fill the store with made-up tokens. What comes again is refused as the SDK refuses what it did not mint. A token
    is used up when its request reaches the handler, whatever the handler then does; where the handler's own write has
    to be one step with it, put an id of your own into the state and call `SingleUse.transact` with that.

    codec: seals; it must accept one spelling of a token only, as the SDK's own does.
    """

    def __init__(self, single_use: SingleUse, codec: RequestStateCodec) -> None:
        self._single_use = single_use
        self._codec = codec
        self._token: ContextVar[str] = ContextVar("token")

    def seal(self, payload: bytes) -> str:
        return self._codec.seal(payload)

    def unseal(self, token: str) -> bytes:
        payload = self._codec.unseal(token)
        self._token.set(token)  # for the middleware, which the same request reaches once all else is verified
        return payload

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        if ctx.method in INPUT_REQUIRED_METHODS and (ctx.params or {}).get("requestState") is not None:
            # The token is bound to its principal already. What no codec has let through is let through here neither.
            token = self._token.get(None)
            if token is None or not await self._single_use.consume(token, None):
                raise MCPError(
                    code=INVALID_PARAMS, message="Invalid or expired requestState",
                    data={"reason": "invalid_request_state"})
        return await call_next(ctx)


def nonce_of(token: str, tenant_id: str | None = None) -> str:
    """The nonce that a token of any length is remembered by, which does not give the token away.

    All clients of this contract name it so, and a token is used once among them: SHA-256, in hexadecimal digits, of the
    token, or where there is a tenant of the JSON array of tenant and token. Half a surrogate pair is the replacement
    character in the one and an escape in the other.
    """
    if tenant_id is None:
        named = token.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
    else:
        pair = json.dumps([tenant_id, token], ensure_ascii=False, separators=(",", ":"))
        named = pair.encode("utf-8", "backslashreplace")
    return hashlib.sha256(named).hexdigest()
