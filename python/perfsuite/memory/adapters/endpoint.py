"""JSON over HTTP on one kept connection, with the standard library alone: adapters run where nothing else is."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_S = 60.0
WORDS = 300


class Endpoint:
    """What is under a URL.  One call at a time."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self._place = urlsplit(url)
        if self._place.scheme not in ("http", "https") or not self._place.hostname:
            raise ValueError(f"{url!r} is no URL: write http://HOST:PORT, with the path where it has one")
        self._headers = {"Content-Type": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        kind = http.client.HTTPSConnection if self._place.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(self._place.netloc, timeout=TIMEOUT_S)

    def ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        """The answer's JSON; RuntimeError with the other side's words for an error, OSError where it cannot be
        reached."""
        data = None if body is None else json.dumps(body)
        try:
            return self._ask(method, path, data)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            return self._ask(method, path, data)  # a kept connection may have been closed meanwhile

    def _ask(self, method: str, path: str, data: str | None) -> Any:
        try:
            self._connection.request(method, self._place.path.rstrip("/") + path, data, self._headers)
            heard = self._connection.getresponse()
            said = heard.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise
        if heard.status >= 400:
            words = said[:WORDS].decode("utf-8", "replace")
            raise RuntimeError(f"{method} {path.partition('?')[0]} was answered {heard.status}: {words}")
        return json.loads(said) if said else None

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()
