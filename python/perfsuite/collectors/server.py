"""The server's own view: its ``/metrics`` page (Prometheus text), read beside the run.

It is read in the thread that samples, once a second, with short time-outs and a bounded size, and after the first time
only the lines that are kept are parsed: little is taken from the client that measures.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec

from perfsuite._core import ResponseParser
from perfsuite.collectors.server_page import Page, Sample, known_values, other_values
from perfsuite.targets.base import MetricsPage
from perfsuite.targets.http.client import phrase_of
from perfsuite.targets.http.failures import reason

INTERVAL_S = 1.0
TIMEOUT_S = 1.0
"""For a whole page; it is asked again a second later."""
LARGEST_PAGE = 1 << 20
BUSY = (429, 502, 503, 504)
PATIENCE = 5
"""Readings in a row that may fail before a page that was there is asked no more."""
MISSING = "the server's own view is not measured, because prometheus_client is not installed: "
REMEDY = "pip install perfsuite[prometheus]"


class PageFailure(Exception):
    """Why a page could not be read.  ``final``: asking again would say the same."""

    def __init__(self, text: str, *, final: bool) -> None:
        super().__init__(text)
        self.final = final


@dataclass(slots=True)
class _Watched:
    """One server's page: where it may be, what was read of it."""

    places: list[MetricsPage]
    page: Page = field(default_factory=Page)
    found: bool = False
    failed: int = 0
    why: str | None = None
    """Why it is asked no more."""
    first: dict[str, float] = field(default_factory=dict)
    last: dict[str, tuple[float, float]] = field(default_factory=dict)


class ServerCollector:
    """The ``/metrics`` pages of the servers under test.

    ``servers`` has for each the places where its page may be; the first that answers is it.  Series of several servers
    are added up, a share of memory is the largest.
    """

    name = "server"

    def __init__(self, servers: Sequence[Sequence[MetricsPage]]) -> None:
        self._watched = [_Watched(list(places)) for places in servers if places]
        self._lacking = None if find_spec("prometheus_client") is not None else MISSING + REMEDY
        self._others: dict[str, float | None] = {}
        """The first value of each other series; None once it has changed."""

    @property
    def absent(self) -> str | None:
        """Why there is nothing to read: no server shows a page, or none does any more."""
        if self._lacking is not None:
            return self._lacking
        if any(one.why is None for one in self._watched):
            return None
        return "the server's own view is not measured: " + "; ".join(one.why or "" for one in self._watched)

    def sample(self) -> Mapping[str, float]:
        """The known series, and each of the others from the moment it first changes."""
        values: dict[str, float] = {}
        for number, one in enumerate(self._watched):
            samples = self._read(one) if one.why is None else None
            if samples is None:
                continue
            now = time.monotonic()
            for known, value in known_values(samples):
                shown = _shown(one, known.series, value, now, counts=known.counts, rate=known.rate)
                if shown is not None:
                    before = values.get(known.series)
                    together = sum if known.how == "sum" else max
                    values[known.series] = shown if before is None else together((before, shown))
            suffix = f" ({number + 1})" if len(self._watched) > 1 else ""
            for name, value in other_values(samples):
                if self._changed(name + suffix, value):
                    values[name + suffix] = value
        return values

    def _changed(self, name: str, value: float) -> bool:
        first = self._others.setdefault(name, value)
        if first is not None and first != value:
            self._others[name] = None
        return self._others[name] is None

    def _read(self, one: _Watched) -> list[Sample] | None:
        while one.places:
            place = one.places[0]
            try:
                samples = one.page.read(fetch(place))
            except (PageFailure, ValueError) as error:
                one.failed += 1
                final = not isinstance(error, PageFailure) or error.final
                words = str(error) if isinstance(error, PageFailure) else f"no Prometheus text: {error}"
                if one.found or not final:
                    if one.failed >= PATIENCE:
                        one.why = f"{place.url}: {words}, {one.failed} times in a row"
                    return None
                one.places.pop(0)
                one.why = None if one.places else f"{place.url}: {words}"
                continue
            one.found, one.failed = True, 0
            return samples
        return None


def _shown(one: _Watched, series: str, value: float, now: float, *, counts: bool, rate: bool) -> float | None:
    """A counter as what came since the first reading, or as its increase a second; one that fell began again at 0."""
    if not counts and not rate:
        return value
    last_s, last = one.last.get(series, (now, value))
    one.last[series] = (now, value)
    step = value - last if value >= last else value
    if rate:
        return step / (now - last_s) if now > last_s else None
    one.first[series] = one.first.get(series, 0.0) + step
    return one.first[series]


def fetch(place: MetricsPage) -> str:
    """A page's text.  Raises PageFailure."""
    deadline = time.monotonic() + TIMEOUT_S
    parser = ResponseParser()
    parser.begin()
    body = bytearray()
    try:
        with _connected(place) as connection:
            connection.sendall(_request(place))
            while not parser.done:
                left = deadline - time.monotonic()
                if left <= 0.0:
                    raise TimeoutError
                connection.settimeout(left)
                data = connection.recv(65536)
                if not data:
                    if not parser.close():
                        raise PageFailure("cut short", final=False)
                    break
                parser.feed(data, 0)
                body += b"".join(part for _, part in parser.take())
                if len(body) > LARGEST_PAGE:
                    raise PageFailure(f"larger than {LARGEST_PAGE >> 20} MiB", final=True)
    except TimeoutError as error:
        raise PageFailure(f"not whole within {TIMEOUT_S:g} s", final=False) from error
    except (ValueError, OverflowError) as error:
        raise PageFailure(str(error), final=True) from error
    except OSError as error:
        raise PageFailure(reason(error), final=False) from error
    body += b"".join(part for _, part in parser.take())
    if parser.status != 200:
        raise PageFailure(f"{parser.status} {phrase_of(parser.status)}".rstrip(), final=parser.status not in BUSY)
    return body.decode("utf-8", "replace")


def _connected(place: MetricsPage) -> socket.socket:
    connection = socket.create_connection((place.host, place.port), timeout=TIMEOUT_S)
    if place.scheme != "https":
        return connection
    try:
        return ssl.create_default_context().wrap_socket(connection, server_hostname=place.host)
    except BaseException:
        connection.close()
        raise


def _request(place: MetricsPage) -> bytes:
    headers = {
        "Host": place.authority,
        "Accept": "text/plain; version=0.0.4",
        "Accept-Encoding": "identity",
        "Connection": "close",
        **dict(place.headers),
    }
    lines = [f"GET {place.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")
