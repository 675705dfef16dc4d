"""What self checks have found on this machine: how far its clients' figures are from a known truth.

``perfsuite selfcheck`` drives ``serve`` and holds what the client says of each request and each gap against what the
server knows of it.  The outcome is kept in the user's cache folder, for ``run`` to give its figures their error bars.
An error is the client's value less the truth, in milliseconds.
"""

from __future__ import annotations

import os
import platform
import secrets
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from perfsuite import __version__, atomic
from perfsuite.environment import usable_cores
from perfsuite.errors import PerfsuiteError

MOST_MACHINES = 16
MOST_CHECKS = 256
LARGEST_FILE = 8 << 20
DENSER = 1.25
"""A load may have so many times the chunks a second of the check that is to cover it."""


QUICKEST_MS, SLOWEST_MS = 5.0, 20.0
TOKENS_PER_S = 6400.0
"""The tokens a second that a check aims at: few streams are quick ones, many are no slower than SLOWEST_MS."""
LEAST_MS, MOST_MS = 0.5, 200.0
MARGIN = 0.8
"""A check for a load is so much quicker than that on average: between its answers nothing comes."""


def usual_pace_ms(streams: int) -> float:
    """From token to token of each stream, where nothing else is asked for."""
    return min(SLOWEST_MS, max(QUICKEST_MS, 1e3 * streams / TOKENS_PER_S))


class Deviation(msgspec.Struct, frozen=True, kw_only=True):
    """The errors of one figure, in ms.  ``mean`` has its sign; ``p50``, ``p99`` and ``max`` are of their sizes.
    ``shift_p50`` and ``shift_p99``: the client's quantile less the truth's."""

    count: int
    mean: float
    p50: float
    p99: float
    max: float
    shift_p50: float
    shift_p99: float

    @property
    def central(self) -> float:
        """How far a mean or a median may be off."""
        return max(self.p50, abs(self.shift_p50), abs(self.mean))

    @property
    def tail(self) -> float:
        """How far any other quantile may be off."""
        return max(self.central, self.p99, abs(self.shift_p99))


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """The conditions that an error depends on.  ``engine``: what drives (``wire`` or ``asyncio``); ``scheme``: ``http``
    or ``https``; ``streams``: answers under way at a time; ``chunks_per_s``: of all of them together."""

    engine: str
    scheme: str
    streams: int
    tokens_per_chunk: float = 1.0
    chunks_per_s: float = 0.0

    @property
    def pace_ms(self) -> float:
        """From token to token of each stream, for a check that is to cover this load."""
        if not self.chunks_per_s > 0.0:
            return MOST_MS
        pace = 1e3 * self.streams / (self.chunks_per_s * max(1.0, self.tokens_per_chunk))
        return round(min(MOST_MS, max(LEAST_MS, MARGIN * pace)), 2)

    def __str__(self) -> str:
        streams = f"{self.streams:,} stream{'s' if self.streams != 1 else ''}"
        tokens = f"{self.tokens_per_chunk:.3g} token{'s' if round(self.tokens_per_chunk, 2) != 1 else ''}"
        return f"{self.engine}, {self.scheme}, {streams}, {tokens} to a chunk"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One load, checked.

    ``end`` is the error of a response's end; the server knows when it sent the last token, and ends the answer a moment
    later, so it is at most that.  ``rate``: the client's requests a second over the truth's, less 1.  ``kernel``: the
    share of requests whose stamps are all the kernel's; ``truth_kernel``: likewise of the truth's.  ``coalesced``: the
    share of chunks that share their stamp with another.  ``late``: the share of sends later than 1 ms.  ``waited``: CPU
    seconds that the client's threads were ready to run and had to wait, per second; ``stolen``: the share of the
    machine's time that its host gave to others.
    """

    load: Load
    at: str
    duration_s: float
    requests: int
    ttft: Deviation
    itl: Deviation | None
    end: Deviation
    rate: float
    cpu_ms_per_1000_tokens: float
    kernel: float
    truth_kernel: float
    coalesced: float
    late: float
    waited: float | None = None
    stolen: float | None = None
    load_average: float | None = None
    asked: int = 0
    """The streams that were asked for; ``load`` has those that were held.  0: not kept."""


class Machine(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """What has to be the same for a check to say something of a run."""

    host: str
    cores: int
    kernel: str
    python: str
    perfsuite: str


class Checks(msgspec.Struct, frozen=True, kw_only=True):
    """The checks of one machine, the newest last."""

    machine: Machine
    checks: list[Check]


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """The file."""

    version: Literal[1] = 1
    machines: list[Checks] = msgspec.field(default_factory=list)


def machine() -> Machine:
    """This one."""
    return Machine(
        host=socket.gethostname(),
        cores=usable_cores(),
        kernel=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        perfsuite=__version__,
    )


def place() -> Path:
    """The file's path: ``$XDG_CACHE_HOME/perfsuite/selfcheck.json``, by default in ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    folder = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return folder / "perfsuite" / "selfcheck.json"


def kept(path: Path | None = None) -> list[Check]:
    """The checks of this machine; none where there is no file, or none that this perfsuite can read: what cannot be
    used covers nothing."""
    here = machine()
    return next((one.checks for one in _read(path or place()).machines if one.machine == here), [])


def keep(checks: Sequence[Check], path: Path | None = None) -> Path:
    """Adds checks to the file, in the place of older ones of the same load.  Raises PerfsuiteError when it cannot be
    written."""
    path = path or place()
    here = machine()
    book = _read(path)
    fresh = {_key(one) for one in checks}
    before = next((one.checks for one in book.machines if one.machine == here), [])
    mine = Checks(machine=here, checks=[*(one for one in before if _key(one) not in fresh), *checks][-MOST_CHECKS:])
    others = [one for one in book.machines if one.machine != here]
    data = msgspec.json.format(msgspec.json.encode(Book(machines=[*others, mine][-MOST_MACHINES:])), indent=1) + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        atomic.replace(path, data, path.with_name(f".{path.name}.{secrets.token_hex(4)}"))
    except OSError as error:
        raise PerfsuiteError(
            f"the outcome cannot be kept in {path}: {error.strerror or error}; name another folder in XDG_CACHE_HOME"
        ) from error
    return path


def covering(load: Load, checks: Iterable[Check]) -> Check | None:
    """The check that says how far off the figures of a load are: of the same engine and scheme, of as many streams,
    as dense in chunks and with as few tokens in each.  Of several the nearest, and of those the newest."""
    able = [one for one in checks if covers(one.load, load)]
    return min(reversed(able), key=lambda one: (one.load.streams, -one.load.tokens_per_chunk), default=None)


def covers(checked: Load, load: Load) -> bool:
    """Whether a check at ``checked`` says something of ``load``: it was at least as hard."""
    return (
        checked.engine == load.engine
        and checked.scheme == load.scheme
        and checked.streams >= load.streams
        and checked.tokens_per_chunk <= max(1.0, load.tokens_per_chunk) + 0.05
        and load.chunks_per_s <= DENSER * checked.chunks_per_s
    )


def _key(check: Check) -> tuple[object, ...]:
    load = check.load
    return load.engine, load.scheme, load.streams, load.tokens_per_chunk, round(load.chunks_per_s, -2)


def _read(path: Path) -> Book:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(LARGEST_FILE), type=Book)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Book()
