"""Ratio and times of every codec here by payload size, measured in a process of its own: a codec's working memory is
not the memory of the system under test.

``python -m perfsuite.suites.codec_table SECONDS``: the text to compress comes on standard input, a JSON table goes out.
Sizes go up, and each is measured with all codecs before the next, until the seconds are over.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

import msgspec

from perfsuite.compression import available_codecs, keep_freed_memory, measure_compression
from perfsuite.suites.apart import run_apart

if TYPE_CHECKING:
    from perfsuite.suites.session import Session

SIZES = (100, 1_000, 10_000, 100_000, 1_000_000)
PAYLOADS = 4
SLOWEST = 4.0
"""A codec whose last size took this share of what is left, divided by it, is not tried on one ten times the size."""

Row = dict[str, str | int | float | None]
Table = list[Row]


def table(text: bytes, seconds: float) -> Table:
    """Rows of codec, bytes of a payload, ratio, factor, and the medians compress_ms and decompress_ms."""
    deadline = time.monotonic() + seconds
    found: Table = []
    took = dict.fromkeys(available_codecs(), 0.0)
    for size in SIZES:
        starts = range(0, len(text) - size + 1, max(1, (len(text) - size) // PAYLOADS))
        payloads = [text[start : start + size] for start in starts][:PAYLOADS]
        for name in took:
            left = deadline - time.monotonic()
            if not payloads or left <= 0.0 or SLOWEST * took[name] > left:
                continue
            began = time.monotonic()
            report = measure_compression(name, payloads, repeat=3, warmup=1)
            took[name] = time.monotonic() - began
            found.append(
                {
                    "codec": name,
                    "bytes": size,
                    "ratio": report.ratio,
                    "factor": report.factor,
                    "compress_ms": report.compress_ms.median,
                    "decompress_ms": report.decompress_ms.median,
                }
            )
    return found


async def table_apart(session: Session, text: bytes, seconds: float) -> Table:
    """The same in a process of its own."""
    command = (sys.executable, "-m", "perfsuite.suites.codec_table", f"{seconds:.3f}")
    return msgspec.convert(await run_apart(session, command, text, "measuring the codecs"), Table)


if __name__ == "__main__":
    keep_freed_memory()  # or the allocator's dealings with the kernel are timed beside small payloads
    print(json.dumps(table(sys.stdin.buffer.read(), float(sys.argv[1]))))
