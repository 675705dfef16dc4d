"""Where a live page may listen: at this machine's own addresses, and at others for those who know a secret."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Mapping

from perfsuite.errors import UsageError

TOKEN_VARIABLE = "PERFSUITE_LIVE_TOKEN"
SHORTEST_TOKEN = 16
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


def opened(address: str, flag: str, environment: Mapping[str, str] | None = None) -> tuple[socket.socket, str | None]:
    """A listening socket at ``HOST:PORT``, and the token that viewers must show, if any.

    Raises UsageError for what cannot be had, and for an address that others can reach while there is no token.
    """
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    token = (os.environ if environment is None else environment).get(TOKEN_VARIABLE) or None
    if token is not None and (len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
        raise UsageError(f"{TOKEN_VARIABLE} must be {SHORTEST_TOKEN} or more plain characters: openssl rand -hex 16")
    try:
        family, _, _, _, place = socket.getaddrinfo(
            host or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )[0]
    except OSError as error:
        raise UsageError(f"{flag} {address}: {error.strerror}; name an address of this machine") from error
    if token is None and not ipaddress.ip_address(str(place[0]).partition("%")[0]).is_loopback:
        raise UsageError(
            f"{flag} {address}: others could reach it there; put a secret of {SHORTEST_TOKEN} characters or more into "
            f"{TOKEN_VARIABLE} and open the page with ?token=…, or listen at 127.0.0.1"
        )
    try:
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise UsageError(f"{flag} {address}: {error.strerror}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(64)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise UsageError(f"{flag} {address}: {error.strerror}; name a free port, or 0 for any") from error
    return listener, token


def url_of(listener: socket.socket) -> str:
    """Where a browser finds it."""
    name, port = listener.getsockname()[:2]
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"


def answers_to(listener: socket.socket, field: str) -> bool:
    """Whether a request's Host names this server.

    At the loopback only the loopback's names do: a page elsewhere that had its own name point here (DNS rebinding)
    would be of the same origin else.  At other addresses the token keeps such a page out.
    """
    name, port = listener.getsockname()[:2]
    if not ipaddress.ip_address(name.partition("%")[0]).is_loopback:
        return True
    host, colon, given = field.rpartition(":") if not field.endswith("]") else (field, "", "")
    host = host if colon else field
    return host.removeprefix("[").removesuffix("]").lower() in (*LOOPBACK_NAMES, name) and (given or "80") == str(port)
