"""Where a service is: the URL of ``--target`` and of ``--model NAME@URL``, read once."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from perfsuite.errors import UsageError, shown
from perfsuite.targets.base import MetricsPage

WEB = ("http", "https")
SOCKETS = ("ws", "wss")
SECURE = frozenset({"https", "wss"})
PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
VERSION = re.compile(r"v\d+[a-z0-9]*")


@dataclass(frozen=True, slots=True)
class Address:
    """A base URL.  ``path`` is without its last slash, so that an operation's path can follow it."""

    scheme: str
    host: str
    port: int
    path: str = ""

    @property
    def authority(self) -> str:
        """``host:port`` as the Host header has it, the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The base URL as text."""
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def loopback(self) -> bool:
        """The service is on this machine."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(self.host.partition("%")[0]).is_loopback
        except ValueError:
            return False

    def versioned(self, version: str = "v1") -> Address:
        """With ``/v1`` after its path unless some version is there already."""
        if any(VERSION.fullmatch(part) for part in self.path.split("/")):
            return self
        return Address(self.scheme, self.host, self.port, f"{self.path}/{version}")


def parse_address(url: str, where: str, schemes: tuple[str, str] = WEB) -> Address:
    """The address that a URL of one of ``schemes`` names.  Raises UsageError, which never repeats a password that was
    in it."""
    plain, secure = schemes
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{where}: not a URL ({error}); write {plain}://HOST:PORT") from error
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            f"{where}: a URL with a password in it ends up in files and reports; put the key in an environment "
            "variable and name it with --api-key-env"
        )
    if parts.scheme not in schemes or not parts.hostname:
        raise UsageError(
            f"{where}: {shown(url)} is no address of a service; write {plain}://HOST:PORT or {secure}://HOST"
        )
    if parts.query or parts.fragment:
        raise UsageError(
            f"{where}: a base URL has no ? or #; describe a service that needs them with a template "
            "(--target template:FILE)"
        )
    if re.search(r"[\x00-\x20\x7f]", url) or not parts.path.isascii():
        raise UsageError(f"{where}: {shown(url)} has characters that a URL cannot have; percent-encode them")
    host = parts.hostname
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError as error:
            raise UsageError(f"{where}: {shown(host)} is no host name") from error
    if port == 0:
        raise UsageError(f"{where}: port 0 cannot be connected to; name the port that the service listens on")
    return Address(parts.scheme, host, port or PORTS[parts.scheme], parts.path.rstrip("/"))


def metrics_pages(addresses: Iterable[Address], headers: Sequence[tuple[str, str]] = ()) -> list[list[MetricsPage]]:
    """Where the servers at these addresses may show their metrics: under the base's path, and at the root."""
    found: dict[Address, list[MetricsPage]] = {}
    for one in addresses:
        parts = one.path.split("/")
        above = "/".join(parts[:-1] if VERSION.fullmatch(parts[-1]) else parts)
        server = Address(one.scheme, one.host, one.port)
        paths = dict.fromkeys((f"{above}/metrics", "/metrics"))
        found[server] = [
            MetricsPage(
                scheme=one.scheme, host=one.host, port=one.port, authority=one.authority, path=path, headers=headers
            )
            for path in paths
        ]
    return list(found.values())
