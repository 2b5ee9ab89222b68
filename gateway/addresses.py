"""Where a request comes from, behind proxies that we run ourselves."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from starlette.types import Scope

_FORWARDED = b"x-forwarded-for"


def client_address(scope: Scope, trusted_proxies: int) -> str:
    """The address of the caller as the outermost of our own proxies saw it; of an IPv6 network its /64.

    Each proxy appends whom it answers to X-Forwarded-For. What stands further left than our own proxies wrote, the
    caller may have made up.
    """
    client = scope.get("client")
    address = client[0] if client else ""
    if trusted_proxies:
        chain = [
            part.strip()
            for name, value in scope["headers"]
            if name == _FORWARDED
            for part in value.decode("latin-1").split(",")
        ]
        if chain:
            address = chain[-min(trusted_proxies, len(chain))]
    return _network(address)


@lru_cache(maxsize=4_096)
def _network(address: str) -> str:
    """One household has a whole /64 of IPv6 addresses. What is no address at all is not kept as it was sent."""
    try:
        parsed = ip_address(address.strip("[]"))
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped else str(IPv6Address(int(parsed) >> 64 << 64))
    return str(parsed)
