"""Outcomes of self checks, made by hand."""

from __future__ import annotations

from typing import Any

import msgspec

from perfsuite.selfchecks import Check, Deviation, Load

EXACT = Deviation(count=100, mean=0.001, p50=0.002, p99=0.02, max=0.3, shift_p50=-0.004, shift_p99=0.01)


def load(**changes: Any) -> Load:
    return msgspec.structs.replace(
        Load(engine="wire", scheme="http", streams=128, tokens_per_chunk=1.0, chunks_per_s=6000.0), **changes
    )


def a_check(at: str = "2026-11-21T12:00:00+00:00", **changes: Any) -> Check:
    return Check(
        load=load(**changes),
        at=at,
        duration_s=2.5,
        requests=100,
        ttft=EXACT,
        itl=EXACT,
        end=EXACT,
        rate=0.0001,
        cpu_ms_per_1000_tokens=6.0,
        kernel=1.0,
        truth_kernel=1.0,
        coalesced=0.0,
        late=0.0,
    )
