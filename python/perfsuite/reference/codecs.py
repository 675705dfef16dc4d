"""How the reference system compresses what is cold."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from perfsuite.errors import MissingExtra, unknown


@dataclass(slots=True)
class StorageCodec:
    """A lossless codec at one setting."""

    name: str
    compress: Callable[[bytes], bytes]
    decompress: Callable[[bytes], bytes]


def storage_codec(name: str, *, strongest: bool = False) -> StorageCodec:
    """The codec of that name at its usual setting, or at its strongest; ``none`` stores things as they are."""
    if name == "none":
        return StorageCodec("none", bytes, bytes)
    if name == "zlib":
        level = 9 if strongest else 6
        return StorageCodec(f"zlib-{level}", lambda data: zlib.compress(data, level), zlib.decompress)
    if name == "bz2":
        return StorageCodec("bz2-9", lambda data: bz2.compress(data, 9), bz2.decompress)
    if name == "lzma":
        preset = 9 | lzma.PRESET_EXTREME if strongest else 6
        return StorageCodec(
            f"lzma-{'9e' if strongest else 6}", lambda data: lzma.compress(data, preset=preset), lzma.decompress
        )
    if name == "zstandard":
        return _zstandard(19 if strongest else 3)
    raise unknown("codec", name, ("none", "zlib", "bz2", "lzma", "zstandard"), "the reference system")


def _zstandard(level: int) -> StorageCodec:
    try:
        import zstandard
    except ImportError as error:
        raise MissingExtra("zstandard", "codecs", "the codec zstandard") from error
    return StorageCodec(
        f"zstandard-{level}",
        zstandard.ZstdCompressor(level=level).compress,
        zstandard.ZstdDecompressor().decompress,
    )
