"""What a codec saves and what it costs, measured properly.

The codec's context is made once; payloads take turns in a new random order every round, after warm-up rounds; only the
call itself is between the clock readings, whose own cost is taken off; every round trip is compared byte for byte.
"""

from __future__ import annotations

import math
import os
import pickle
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from importlib.util import find_spec
from operator import index
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from perfsuite import _core, pythonpath
from perfsuite.errors import MissingExtra, PerfsuiteError, UsageError, unknown

if TYPE_CHECKING:
    from typing_extensions import Buffer

Step: TypeAlias = Callable[[bytes], "Buffer"]
Lossless: TypeAlias = tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]


class Codec(Protocol):
    """Anything that compresses bytes and gets them back."""

    def compress(self, data: bytes, /) -> Buffer: ...
    def decompress(self, data: bytes, /) -> Buffer: ...


class Timing(NamedTuple):
    """Milliseconds of one call, over all payloads and rounds; p99 is the nearest rank."""

    min: float
    median: float
    mean: float
    p99: float


class CompressionReport(NamedTuple):
    """What `measure_compression` found.  Sizes, ratios and times are of the payloads that made the whole trip."""

    codec: str
    payloads: int
    original_bytes: int
    compressed_bytes: int
    ratio: float
    """1 - compressed / original; below 0 where the codec made things larger."""
    factor: float
    """original / compressed."""
    savings_with_overhead: float
    """The ratio when each payload is a Python object of its own, its header included."""
    entropy_bits_per_byte: float
    """Order-0 entropy of the payloads: 8 for random bytes; a codec that sees no context cannot go below it."""
    recovered: float
    """The share of payloads that came back byte for byte, every time."""
    mismatches: tuple[int, ...]
    """Indices of those that did not, the failed ones included."""
    errors: dict[int, str]
    """What went wrong, by index, where the codec raised or returned something else than bytes."""
    compress_ms: Timing
    decompress_ms: Timing
    compress_ms_by_payload: tuple[Timing | None, ...]
    """The same for each payload over its rounds; None where it failed."""
    decompress_ms_by_payload: tuple[Timing | None, ...]


def _zlib(level: int | None) -> Lossless:
    import zlib

    return (zlib.compress if level is None else lambda data: zlib.compress(data, level)), zlib.decompress


def _bz2(level: int | None) -> Lossless:
    import bz2

    return (bz2.compress if level is None else lambda data: bz2.compress(data, level)), bz2.decompress


def _lzma(level: int | None) -> Lossless:
    import lzma

    return (lzma.compress if level is None else lambda data: lzma.compress(data, preset=level)), lzma.decompress


def _zstd(level: int | None) -> Lossless:
    zstandard = import_module("zstandard")
    compressor = zstandard.ZstdCompressor(level=3 if level is None else level)
    return compressor.compress, zstandard.ZstdDecompressor().decompress


def _lz4(level: int | None) -> Lossless:
    block = import_module("lz4.block")
    if level is None:
        return block.compress, block.decompress
    return (lambda data: block.compress(data, mode="high_compression", compression=level)), block.decompress


def _brotli(level: int | None) -> Lossless:
    brotli = import_module("brotli")
    return (brotli.compress if level is None else lambda data: brotli.compress(data, quality=level)), brotli.decompress


def _none(level: int | None) -> Lossless:
    return bytes, bytes


class NamedCodec(NamedTuple):
    """A lossless codec at one setting, which its name tells."""

    name: str
    compress: Callable[[bytes], bytes]
    decompress: Callable[[bytes], bytes]


class _Registered(NamedTuple):
    """A codec by name: what makes it, the module that it needs, the package that has it ("": Python itself), and its
    usual and its strongest level, each as it is told and as the codec takes it."""

    make: Callable[[int | None], Lossless]
    module: str
    package: str
    usual: tuple[str, int | None]
    strongest: tuple[str, int | None]


_CODECS = {
    "zlib": _Registered(_zlib, "zlib", "", ("6", 6), ("9", 9)),
    "bz2": _Registered(_bz2, "bz2", "", ("9", 9), ("9", 9)),
    "lzma": _Registered(_lzma, "lzma", "", ("6", 6), ("9e", 9 | 1 << 31)),  # lzma.PRESET_EXTREME
    "zstd": _Registered(_zstd, "zstandard", "zstandard", ("3", 3), ("19", 19)),
    "lz4": _Registered(_lz4, "lz4", "lz4", ("1", None), ("12", 12)),
    "brotli": _Registered(_brotli, "brotli", "brotli", ("11", 11), ("11", 11)),
    "none": _Registered(_none, "builtins", "", ("", None), ("", None)),
}
_ALIASES = {"zstandard": "zstd", "gzip": "zlib", "xz": "lzma", "bzip2": "bz2"}


def available_codecs() -> list[str]:
    """The names of the codecs whose libraries are installed, the standard library's first; ``none`` compresses nothing
    and is not among them."""
    return [name for name, row in _CODECS.items() if name != "none" and find_spec(row.module) is not None]


def codec_at(name: str, *, strongest: bool = False) -> NamedCodec:
    """The codec of that name at its usual setting, or at its strongest: ``zlib-6``, ``lzma-9e``; ``none`` leaves things
    as they are.  Raises as `open_codec`."""
    base = _known(name)
    label, level = _CODECS[base].strongest if strongest else _CODECS[base].usual
    return NamedCodec(f"{base}-{label}" if label else base, *_made(base, level))


def _known(name: str) -> str:
    base = _ALIASES.get(name.lower(), name.lower())
    if base not in _CODECS:
        raise unknown("codec", base, _CODECS)
    return base


def _made(base: str, level: int | None) -> Lossless:
    row = _CODECS[base]
    try:
        return row.make(level)
    except ImportError as error:
        if not row.package:
            raise PerfsuiteError(f"this Python was built without {base}: {error}") from error
        raise MissingExtra(row.package, "codecs", f"the codec {base}") from error


def open_codec(codec: str | Codec | tuple[Step, Step]) -> tuple[str, Step, Step]:
    """(name, compress, decompress) of a codec given by name, as an object or as a pair of functions.

    A name may carry a level: ``zlib:9``, ``zstd:19``, ``brotli:5``.  Contexts are made here, once.  Raises UsageError
    for an unknown name, MissingExtra for a codec that is not installed.
    """
    if isinstance(codec, str):
        base, colon, level = codec.partition(":")
        base = _known(base)
        if colon and not level.removeprefix("-").isdecimal():
            raise UsageError(f"codec {codec!r}: the level after the colon must be an integer, as in {base}:5")
        return (codec, *_made(base, int(level) if colon else None))
    if isinstance(codec, tuple):
        if len(codec) != 2 or not all(map(callable, codec)):
            raise UsageError("a codec given as a pair must be (compress, decompress), two callables")
        return (getattr(codec[0], "__qualname__", "custom"), *codec)
    compress, decompress = getattr(codec, "compress", None), getattr(codec, "decompress", None)
    if not (callable(compress) and callable(decompress)):
        raise UsageError(f"a codec must be a name, a pair, or have compress and decompress: {type(codec).__name__} "
                         "has not")  # fmt: skip
    name = codec.__name__ if hasattr(codec, "__name__") else type(codec).__name__
    return str(name), compress, decompress


def measure_compression(
    codec: str | Codec | tuple[Step, Step],
    payloads: Iterable[Buffer],
    repeat: int = 20,
    warmup: int = 3,
    *,
    seed: int = 0,
    isolate: bool = False,
) -> CompressionReport:
    """Measures a codec on payloads: `warmup` rounds, then `repeat` measured ones, each over all payloads.

    `codec` is a name (zlib, bz2, lzma; zstd, lz4, brotli with the extra ``codecs``; see `open_codec`), an object with
    ``compress`` and ``decompress`` (a module will do), or a pair of functions.  A codec that raises on a payload, or
    returns something else than bytes, is reported in ``errors``; one that gives other bytes back, in ``mismatches``.
    One that fails on every payload raises PerfsuiteError.

    For small payloads the allocator can cost more than the codec: glibc gives memory back to the kernel and fetches it
    again at each call.  With `isolate` the measurement runs in a process of its own in which it does not (the setting
    is global, so not in yours); then the codec must be a name, or pickle.
    """
    whole = tuple(_payloads(payloads))
    if not whole:
        raise UsageError("there are no payloads: give one or more bytes objects")
    repeat, warmup = index(repeat), index(warmup)
    if repeat < 1 or warmup < 0:
        raise UsageError(f"repeat {repeat} must be 1 or more, warmup {warmup} 0 or more")
    if isolate:
        return _measure_apart(codec, whole, repeat, warmup, seed)
    name, compress, decompress = open_codec(codec)
    sizes, held, compress_ns, decompress_ns, mismatches, errors = _core.measure_codec(
        compress, decompress, whole, repeat, warmup, seed
    )
    good = [index for index in range(len(whole)) if index not in errors]
    if not good:
        raise PerfsuiteError(f"the codec {name} failed on every payload; the first: {errors[min(errors)]}")
    original = sum(len(whole[index]) for index in good)
    compressed = sum(sizes[index] for index in good)
    plain = sum(whole[index].__sizeof__() for index in good)
    bad = tuple(sorted(mismatches | errors.keys()))
    forward = list(_by_payload(compress_ns, repeat))
    back = list(_by_payload(decompress_ns, repeat))
    return CompressionReport(
        codec=name,
        payloads=len(whole),
        original_bytes=original,
        compressed_bytes=compressed,
        ratio=1.0 - compressed / original if original else 0.0,
        factor=original / compressed if compressed else (math.inf if original else 1.0),
        savings_with_overhead=1.0 - sum(held[index] for index in good) / plain,
        entropy_bits_per_byte=_core.byte_entropy(whole),
        recovered=1.0 - len(bad) / len(whole),
        mismatches=bad,
        errors=dict(sorted(errors.items())),
        compress_ms=_timing([ns for index in good for ns in forward[index]]),
        decompress_ms=_timing([ns for index in good for ns in back[index]]),
        compress_ms_by_payload=tuple(None if i in errors else _timing(ns) for i, ns in enumerate(forward)),
        decompress_ms_by_payload=tuple(None if i in errors else _timing(ns) for i, ns in enumerate(back)),
    )


def _payloads(payloads: Iterable[Buffer]) -> Iterator[bytes]:
    if isinstance(payloads, (str, bytes, bytearray, memoryview)):
        raise TypeError(f"payloads must be several bytes objects, not one {type(payloads).__name__}: give [data]")
    for position, payload in enumerate(payloads):
        try:
            yield bytes(memoryview(payload))
        except TypeError:
            raise TypeError(f"payloads[{position}] is of type {type(payload).__name__}; it must be bytes") from None


def _by_payload(times: bytes, repeat: int) -> Iterator[list[float]]:
    values = array("d", times)
    for start in range(0, len(values), repeat):
        yield values[start : start + repeat].tolist()


def _timing(ns: list[float]) -> Timing:
    least, p99 = _core.exact_quantiles(ns, (0.0, 0.99))
    return Timing(least / 1e6, _core.median(ns) / 1e6, math.fsum(ns) / len(ns) / 1e6, p99 / 1e6)


# ── in a process of its own ──────────────────────────────────────────────────────────────────────────────────────────

_CHILD = "from perfsuite.compression import _serve_apart; _serve_apart()"


def keep_freed_memory() -> bool:
    """Tells glibc's allocator not to give freed memory back to the kernel; False where it cannot be told.

    For the whole process: call it only in one made for measuring.
    """
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    m_trim_threshold, m_mmap_threshold = -1, -3  # malloc.h
    return bool(mallopt(m_trim_threshold, 1 << 30)) and bool(mallopt(m_mmap_threshold, 32 << 20))


def _measure_apart(
    codec: str | Codec | tuple[Step, Step], payloads: tuple[bytes, ...], repeat: int, warmup: int, seed: int
) -> CompressionReport:
    import subprocess  # here, as it imports threading, which interpreters of Python 3.11 and 3.12 do not end well with

    open_codec(codec)  # mistakes are named here, not in the other process
    try:
        task = pickle.dumps((codec, payloads, repeat, warmup, seed))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        message = f"isolate needs a codec that can be sent to another process, such as a name: {error}"
        raise UsageError(message) from error
    environment = {**os.environ, pythonpath.VARIABLE: pythonpath.joined(first=sys.path)}
    done = subprocess.run([sys.executable, "-c", _CHILD], input=task, capture_output=True, env=environment, check=False)
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip().rpartition("\n")[2] or f"exit status {done.returncode}"
        raise PerfsuiteError(f"the measurement in a process of its own failed: {words}")
    report = pickle.loads(done.stdout)
    assert isinstance(report, CompressionReport)
    return report


def _serve_apart() -> None:
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a codec prints must not get into the answer
    codec, payloads, repeat, warmup, seed = pickle.load(sys.stdin.buffer)
    keep_freed_memory()
    report = measure_compression(codec, payloads, repeat, warmup, seed=seed)
    with output:
        pickle.dump(report, output)
