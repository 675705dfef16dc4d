"""A statistic by its name: what can be asked of samples in a criterion, a threshold, a test's ``slo`` or an alert.

A quantile is ``p`` and two digits or more: ``p50``, ``p05``, ``p90``, ``p999`` (99.9 %), which is ``p99.9`` as well.
"""

from __future__ import annotations

import re

VALUE = "value"
"""Of a metric that is one figure."""
USUAL = ("mean", "min", "max", "p50", "p95", "p99", "p999")
"""Those that are named where somebody asks for one that there is not; any other quantile can be asked for as well."""
_MOMENTS = ("mean", "min", "max")
_QUANTILE = re.compile(r"p(\d{2}|[09]\d{2,5}|(\d|9\d)\.(\d{1,4}))", re.ASCII)
"""More than two digits are of the tails alone: whoever writes p100 does not mean p10, nor p9 for p09."""


def statistic(name: str) -> str | None:
    """The name as results have it; None where it names no statistic of samples."""
    if name in _MOMENTS:
        return name
    found = _QUANTILE.fullmatch(name)
    if found is None:
        return None
    whole, after = (found[2], found[3]) if found[2] else (found[1], "")
    digits = whole.rjust(2, "0") + after
    digits = digits[:2] + digits[2:].rstrip("0")
    return f"p{digits}" if int(digits) else None


def quantile_level(name: str) -> float | None:
    """The quantile that a statistic's name stands for: 0.95 for ``p95``, 0.999 for ``p999``; None for a mean and
    others."""
    return float(f"0.{name[1:]}") if name[:1] == "p" and name[1:].isdecimal() else None


def of_answers_only(name: str) -> bool:
    """Whether failed requests have no part in it, where they are slower than any answer in the others."""
    return name == "mean"
