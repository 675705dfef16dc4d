"""How the values of settings are read: text of a flag or a variable, or what a file or a keyword gave, checked.

Each takes the value and, for its texts, ``where`` it was given, and raises UsageError.  Quantities are read by
``units``.  Nothing heavy is imported here, for the table of settings names these functions and is read by ``--help``.
"""

from __future__ import annotations

import re
from functools import partial

from perfsuite.errors import UsageError, shown, unknown
from perfsuite.units import parse_count, parse_duration, parse_rate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Place:
    """Where a database is: an SQLAlchemy URL, the path of a file, or ``off``.  A password in it is shown nowhere."""

    __slots__ = ("_given",)

    def __init__(self, given: str) -> None:
        self._given = given

    @property
    def off(self) -> bool:
        """Whether there is to be none."""
        return self._given.lower() == "off"

    def reveal(self) -> str:
        """The URL as it was given."""
        return self._given

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Place) and self._given == other._given

    def __hash__(self) -> int:
        return hash(self._given)

    def __repr__(self) -> str:
        return re.sub(r"(://[^:/@]*:)[^@]*@", r"\1***@", self._given)

    __str__ = __repr__


def place(value: object, where: str) -> Place:
    """A URL, a path or ``off``."""
    from pathlib import Path

    if isinstance(value, Place):
        return value
    return Place(str(value) if isinstance(value, Path) else text(value, where))


def collector(value: object, where: str) -> Place:
    """The URL of a collector; http or https."""
    from urllib.parse import urlsplit

    given = place(value, where)
    try:
        url = urlsplit(given.reveal())
        usable = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"{where}: {shown(str(given))} is no collector's URL; write http://HOST:4318")
    return given


def text(value: object, where: str) -> str:
    """Text that is not empty and fits on a line."""
    if not isinstance(value, str):
        raise UsageError(f"{where}: {shown(value)} is not text; write it in quotes")
    if not value.strip() or any(ord(character) < 32 for character in value):
        raise UsageError(f"{where}: {shown(value)} is empty or has control characters; give a name")
    return value.strip()


ANY_PORT = "127.0.0.1:0"
"""Where what is to listen does so, unless it is told."""


def listening(value: object, where: str) -> str | None:
    """HOST:PORT to listen at; a port alone is of the loopback.  True is ANY_PORT, false nothing."""
    if isinstance(value, bool) or str(value).lower() in ("off", "on"):
        return ANY_PORT if value is True or str(value).lower() == "on" else None
    given = text(value, where)
    host, _, port = given.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not (port.isascii() and port.isdigit() and int(port) <= 65535) or (":" in bare and bare == host) or " " in host:
        raise UsageError(
            f"{where}: {shown(given)} is no HOST:PORT such as 127.0.0.1:8090 or [::1]:8090; port 0 is any that is free"
        )
    return f"{host or '127.0.0.1'}:{int(port)}"


def cluster(value: object, where: str) -> str:
    """``local:N``, or a scheduler's address: HOST:PORT, ``tcp://`` or ``tls://`` before it."""
    given = text(value, where)
    kind, _, rest = given.partition(":")
    if kind == "local":
        if not (rest.isascii() and rest.isdigit() and 1 <= int(rest) <= 1024):
            raise UsageError(f"{where}: {shown(given)} is no number of processes from 1 to 1,024; write local:2")
        return f"local:{int(rest)}"
    scheme, found, address = given.rpartition("://")
    host, _, port = address.rpartition(":")
    if (
        (found and scheme not in ("tcp", "tls"))
        or not host
        or any(sign in host for sign in " /@")
        or not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535)
    ):
        raise UsageError(
            f"{where}: {shown(given)} is neither local:N nor a scheduler's address such as tcp://127.0.0.1:8786 or "
            "tls://HOST:8786"
        )
    return given if found else f"tcp://{given}"


def path(value: object, where: str) -> Path:
    """A path; whether the file is there is seen when it is used."""
    from pathlib import Path

    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise UsageError(f"{where}: {shown(value)} is not a path; name a file or folder")
    return Path(value).expanduser() if str(value).startswith("~/") else Path(value)


def switch(value: object, where: str) -> bool:
    """Yes or no: true and false in a file, 1/0, yes/no, on/off in a variable."""
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise UsageError(f"{where}: {shown(value)} is neither true nor false; write true or false")


def names(value: object, where: str) -> tuple[str, ...]:
    """Names separated by commas, or a list of them; each once, in order."""
    items = value if isinstance(value, list | tuple) else [value]
    found: list[str] = []
    for item in items:
        if not isinstance(item, str):
            raise UsageError(f"{where}: {shown(item)} is not a name; write names in quotes")
        found.extend(text(name, where) for name in item.split(","))
    return tuple(dict.fromkeys(found))


def several(value: object, where: str) -> tuple[str, ...]:
    """A text, or a list of texts, kept whole."""
    items = value if isinstance(value, list | tuple) else [value]
    return tuple(dict.fromkeys(text(item, where) for item in items))


def agent_models(value: object, where: str) -> tuple[tuple[str, str], ...]:
    """``AGENT=MODEL``, or a list of such: each agent once."""
    items = value if isinstance(value, list | tuple) else [value]
    found: dict[str, str] = {}
    for item in items:
        agent, mark, model = text("=".join(item) if isinstance(item, tuple) else item, where).partition("=")
        if not mark or not agent.strip() or not model.strip():
            raise UsageError(f"{where}: {shown(item)} names no agent and its model; write AGENT=MODEL")
        found[agent.strip()] = model.strip()
    return tuple(found.items())


def choice(value: object, where: str, *, known: tuple[str, ...], kind: str) -> str:
    """One of the names in ``known``."""
    name = text(value, where)
    if name not in known:
        raise unknown(kind, name, known, where)
    return name


def choices(value: object, where: str, *, known: tuple[str, ...], kind: str) -> tuple[str, ...]:
    """Some of the names in ``known``."""
    return tuple(choice(name, where, known=known, kind=kind) for name in names(value, where))


def positive_rate(value: object, where: str) -> float:
    """A rate above zero."""
    rate = parse_rate(value, where)
    if not 0 < rate <= 1e7:
        raise UsageError(
            f"{where}: {shown(value)} is no rate to send at; write one above 0 and up to 10000000 per second"
        )
    return rate


def positive_duration(value: object, where: str, *, bare: str = "s") -> float:
    """A duration above zero, in seconds."""
    seconds = parse_duration(value, where, bare=bare)
    if seconds < 1e-3:
        raise UsageError(f"{where}: {shown(value)} is too short; write a duration of at least 1ms, such as 30s")
    return seconds


def non_negative_duration(value: object, where: str) -> float:
    """A duration in seconds, 0 included."""
    return parse_duration(value, where)


def environment_name(value: object, where: str) -> str:
    """The name of an environment variable (not its value: a key on a command line is seen by every user)."""
    name = text(value, where)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise UsageError(f"{where}: not the name of an environment variable; put the key in one and give its name")
    return name


def as_it_is(value: object, where: str) -> object:
    """Thresholds: read once the metrics are known."""
    return value


def at_least(least: int, most: int = 2**63 - 1) -> Callable[[object, str], int]:
    """What reads a whole number from ``least`` to ``most``."""
    return partial(parse_count, least=least, most=most)
