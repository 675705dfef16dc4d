"""The same calls through a proxy, over httpx (the extra ``[proxy]``): its stamps are taken after httpx has read."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from perfsuite.errors import MissingExtra
from perfsuite.targets.base import Failure
from perfsuite.targets.http.address import Address
from perfsuite.targets.http.client import Answer, Call, Chunk, Client, DirectClient
from perfsuite.targets.http.failures import network_failure

if TYPE_CHECKING:
    import httpx


def client_for(address: Address) -> Client:
    """The client that reaches an address: direct, or through the proxy that HTTP_PROXY, HTTPS_PROXY or ALL_PROXY name
    (not for a service on this machine, nor for what NO_PROXY lists)."""
    proxy = proxy_for(address)
    return DirectClient(address) if proxy is None else ProxiedClient(address, proxy)


def proxy_for(address: Address) -> str | None:
    """The URL of the proxy for an address, or None."""
    if address.loopback:
        return None
    from urllib.request import getproxies, proxy_bypass  # with all of http.client

    if proxy_bypass(address.authority):
        return None
    proxies = getproxies()
    return proxies.get(address.scheme) or proxies.get("all") or None


class ProxiedAnswer:
    """An answer that httpx reads."""

    def __init__(self, answer: httpx.Response, where: str) -> None:
        self.status = answer.status_code
        self.phrase = answer.reason_phrase
        self.headers = {name.lower(): value for name, value in answer.headers.items()}
        self._answer = answer
        self._pieces: AsyncIterator[bytes] = answer.aiter_raw()
        self._where = where
        self._begun = False

    async def read(self) -> list[Chunk]:
        """The next piece; nothing at the end."""
        try:
            async for piece in self._pieces:
                if piece:
                    self._begun = True
                    return [(piece, time.monotonic_ns())]
        except Exception as error:
            raise _failure(error, self._where, answered=True) from error
        await self._answer.aclose()
        return []

    def release(self) -> None:
        """Closes what was not read to its end; httpx keeps the rest itself."""
        if not self._answer.is_closed:
            import asyncio

            closing = asyncio.ensure_future(self._answer.aclose())
            _CLOSING.add(closing)
            closing.add_done_callback(_CLOSING.discard)


_CLOSING: set[object] = set()
"""Answers being closed: the loop itself holds tasks only weakly."""


class ProxiedClient:
    """httpx behind the same protocol."""

    def __init__(self, address: Address, proxy: str) -> None:
        try:
            import httpx
        except ImportError as error:
            raise MissingExtra("httpx", "proxy", f"reaching {address.url} through a proxy") from error
        from urllib.parse import urlsplit

        host = urlsplit(proxy).hostname or "?"
        self.transport = f"httpx through the proxy {host}, stamped after the read"
        self.retried = 0
        self.address = address
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        trusted = ssl.create_default_context() if address.scheme == "https" else True  # whom a direct client trusts
        self._client = httpx.AsyncClient(proxy=proxy, verify=trusted, trust_env=False, timeout=None, limits=limits)

    async def send(self, call: Call, on_sent: Callable[[], object]) -> Answer:
        """Sends a call and awaits the head.  Raises Failure."""
        where = f"{call.method} {self.address.scheme}://{self.address.authority}{call.path}"
        url = f"{self.address.scheme}://{self.address.authority}{call.path}"
        request = self._client.build_request(call.method, url, headers=list(call.headers), content=call.body)
        on_sent()
        try:
            return ProxiedAnswer(await self._client.send(request, stream=True), where)
        except Exception as error:
            raise _failure(error, where, answered=False) from error

    async def close(self) -> None:
        """Closes its connections."""
        await self._client.aclose()


def _failure(error: Exception, where: str, *, answered: bool) -> Failure:
    """The kind of what httpx raised, by what lies beneath it."""
    import httpx

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror | ssl.SSLError):
            return network_failure(cause, where)
        cause = cause.__cause__ or cause.__context__
    text = f"{where}: {type(error).__name__}: {error}"
    if isinstance(error, httpx.ProxyError | httpx.ConnectError | httpx.UnsupportedProtocol):
        return Failure("connect", text)
    if isinstance(error, httpx.TimeoutException):
        return Failure("timeout", text)
    if isinstance(error, httpx.RemoteProtocolError):
        if "disconnected" in str(error) or "without sending complete" in str(error):
            return Failure("incomplete" if answered else "closed", text)
        return Failure("protocol", text)
    if isinstance(error, httpx.NetworkError):
        return Failure("reset", text)
    if isinstance(error, httpx.HTTPError):
        return Failure("protocol", text)
    raise error
