"""Where a webhook may go: what a host can know of a URL and of the addresses behind it."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit

# Not what Python calls global, which is another thing in each of its versions: all languages refuse the same.
_PRIVATE = tuple(ipaddress.ip_network(network) for network in (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/3", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
))
_GLOBAL = ipaddress.IPv6Network("2000::/3")


def is_public(address: str) -> bool:
    """Whether it is an address of the public internet, by the list that all clients have."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return is_public(str(found.ipv4_mapped))
        if found.scope_id is not None or found not in _GLOBAL:
            return False
    return not any(found in network for network in _PRIVATE if network.version == found.version)


def checked_url(url: object, *, insecure: bool = False) -> SplitResult:
    """The parts of a receiver's URL. Raises ValueError when nothing may be sent there.

    insecure: whether `http` will do.
    """
    if not isinstance(url, str) or len(url) > 2_048:
        raise ValueError("The URL must be text of at most 2,048 characters.")
    if not url.isascii() or any(ord(character) <= 0x20 or ord(character) == 0x7F for character in url):
        raise ValueError("The URL must be visible ASCII characters.")
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise ValueError(f"The URL cannot be read: {error}.") from None
    if parts.scheme != "https" and not (insecure and parts.scheme == "http"):
        raise ValueError("The URL must begin with https://.")
    if not host or port == 0:
        raise ValueError("The URL must name a host.")
    if "@" in parts.netloc:
        raise ValueError("The URL must have no user and no password.")
    return parts
