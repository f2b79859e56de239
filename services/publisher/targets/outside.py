"""What the operator lets targets reach outside, and the secrets that prove us there.

A library's documents are written by people who do not run the publisher: they name an address and secrets, and may
neither see a secret nor send us into the operator's own network.
"""

import asyncio
import base64
import binascii
import ipaddress
import re
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from shared.errors import Rejected, Unavailable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SECRET_NAME = re.compile(r"[a-z0-9_]{1,80}")
SECRET_PREFIX = "whsec_"  # noqa: S105  # what the specification lets every secret begin with
SECRET_BYTES = range(24, 65)  # the specification's bounds
RESOLVE_SECONDS = 5.0
# Ways to write an IPv4 address inside an IPv6 one, which a gateway on the way may turn into the operator's own network.
TUNNELS = tuple(ipaddress.IPv6Network(text) for text in ("64:ff9b::/96", "2002::/16", "2001::/32"))


def read_secret(text: str) -> bytes:
    """The key of a `whsec_…` secret; what is wrong with one is said without showing it."""
    try:
        key = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not text.startswith(SECRET_PREFIX) or len(key) not in SECRET_BYTES:
        raise ValueError(
            f"a secret is {SECRET_PREFIX} and {SECRET_BYTES.start} to {SECRET_BYTES.stop - 1} bytes in base64"
        )
    return key


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """`networks` are the private ones targets may be in; every public address is allowed, over https."""

    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    networks: Sequence[Network] = ()
    tls: ssl.SSLContext | None = None

    def secret(self, name: str, *, workspace: UUID) -> bytes:
        """`<workspace>/<name>` belongs to one workspace, `<name>` to all of them.

        Raises Unavailable where there is none: the operator has yet to set it, and what waits for it is not wrong.
        """
        key = self.secrets.get(f"{workspace}/{name}") or self.secrets.get(name)
        if key is None:
            raise Unavailable(f"secret {name}", "the publisher's environment has none of this name")
        return key

    async def address_of(self, host: str, port: int, *, scheme: str) -> str:
        """One address of the host that may be reached; connect to it, not to the name, which may change its mind."""
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError) as error:
            raise Unavailable(host, f"its name is not found: {error}") from error
        addresses = [ipaddress.ip_address(str(where[0]).partition("%")[0]) for *_, where in found]
        for address in addresses:
            if self.allows(address, scheme=scheme):
                return str(address)
        raise Rejected(
            "address_refused",
            f"{host} is {', '.join(sorted(set(map(str, addresses))))}, which nothing may be sent to by {scheme}",
            remedy="use https and a public address, or have the operator add its network to CALOTYPE_TARGET_NETWORKS",
        )

    def allows(self, address: Address, *, scheme: str) -> bool:
        """Without TLS only this machine itself, and only where the operator lists it."""
        plain = address.ipv4_mapped or address if isinstance(address, ipaddress.IPv6Address) else address
        listed = any(plain in network for network in self.networks)
        if scheme != "https":
            return listed and plain.is_loopback
        return listed or (plain.is_global and not plain.is_multicast and not any(plain in net for net in TUNNELS))
