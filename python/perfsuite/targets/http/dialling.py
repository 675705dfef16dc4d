"""Connections to one address: the host looked up now and then, TLS where the scheme says so, failures by their kind."""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Callable
from typing import TypeVar

from perfsuite.targets.base import Failure
from perfsuite.targets.http.address import SECURE, Address
from perfsuite.targets.http.failures import network_failure

ADDRESSES_HOLD_S = 30.0

Made = TypeVar("Made", bound=asyncio.BaseProtocol)


class Dialler:
    """Makes connections.  ``connections`` counts them."""

    def __init__(self, address: Address, context: ssl.SSLContext | None = None) -> None:
        self.address = address
        self.connections = 0
        self._context = context
        if address.scheme in SECURE and context is None:
            self._context = ssl.create_default_context()
            self._context.set_alpn_protocols(["http/1.1"])
        self._addresses: list[str] = []
        self._resolved_at = 0.0

    async def connect(self, protocol: Callable[[], Made]) -> Made:
        """A new connection, spoken by what ``protocol`` makes.  Raises Failure."""
        address = self.address
        where = f"{address.scheme}://{address.authority}"
        loop = asyncio.get_running_loop()
        trouble: Failure | None = None
        for host in await self._resolve(where):
            try:
                _, connection = await loop.create_connection(
                    protocol,
                    host,
                    address.port,
                    ssl=self._context,
                    server_hostname=address.host if self._context is not None else None,
                )
            except OSError as error:
                trouble = network_failure(error, where, handshake=self._context is not None)
                if error.errno == errno.EMFILE:
                    raise Failure("connect", f"{where}: too many open files; raise the limit with ulimit -n") from error
                if trouble.kind == "tls":
                    raise trouble from error
                continue
            self.connections += 1
            return connection
        self._addresses = []
        raise trouble or Failure("dns", f"{where}: the name has no address")

    async def _resolve(self, where: str) -> list[str]:
        """The host's addresses, looked up again after a while: a look-up per connection would be measured with it."""
        loop = asyncio.get_running_loop()
        if self._addresses and loop.time() - self._resolved_at < ADDRESSES_HOLD_S:
            return self._addresses
        try:
            found = await loop.getaddrinfo(self.address.host, self.address.port, type=1)  # SOCK_STREAM
        except OSError as error:
            raise network_failure(error, where) from error
        except UnicodeError as error:
            raise Failure("dns", f"{where}: {error}") from error
        self._addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
        self._resolved_at = loop.time()
        return self._addresses
