"""Quantities as people write them: ``500ms``, ``14GiB``, ``95%``, ``10/s``, and back.

A metric's unit is one of ``ms``, ``bytes``, ``ratio``, ``1/s``, ``tokens`` and ``count``; ``parse_quantity`` reads a
value of any of them.  Every parser takes text or a plain number, and a ``where`` that its error begins with: the flag,
the variable, the file and key.

The other way, ``figure`` writes what was measured and ``goal`` what was asked for: everything that shows a quantity,
the screen, the reports, the advice and the charts, takes its units and its digits from here.
"""

from __future__ import annotations

import math
import re

from perfsuite.errors import UsageError, shown

TIME = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0}
TIME |= {"h": 3600.0, "d": 86400.0}
MILLISECONDS = {unit: seconds * 1e3 for unit, seconds in TIME.items()}
SIZE = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
SIZE |= {"bytes": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
RATE = {"/s": 1.0, "/sec": 1.0, "/min": 1 / 60, "/m": 1 / 60, "/h": 1 / 3600, "rps": 1.0, "qps": 1.0}
TOKENS = {"tokens": 1, "token": 1, "k": 1000, "ktokens": 1000}

LONGEST_S = 366 * 86400.0
"""No run is longer: a duration beyond it is a slip of the unit."""

_NUMBER = r"[+-]?(?:\d+(?:_\d+)*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
# Compiled, and kept, by re when the first one is read: --help reads none.
_QUANTITY = rf"({_NUMBER})\s*([^\d\s.+-][^\s.+]*)?"
_SPANS = rf"(?:{_NUMBER}\s*[a-zµμ]+\s*)+"
_SPAN = rf"({_NUMBER})\s*([a-zµμ]+)"


def _at(where: str) -> str:
    return f"{where}: " if where else ""


def _split(value: object, what: str, accepted: str, where: str) -> tuple[float, str]:
    """The number and the unit (lower case, maybe empty) of ``value``."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise UsageError(f"{_at(where)}{shown(value)} is not {what}; write {accepted}")
    if isinstance(value, str):
        match = re.fullmatch(_QUANTITY, value.strip(), re.ASCII)
        if match is None:
            raise UsageError(f"{_at(where)}{shown(value)} is not {what}; write {accepted}")
        number, unit = float(match[1]), (match[2] or "").lower()
    else:
        try:
            number, unit = float(value), ""
        except OverflowError:
            number, unit = math.inf, ""
    if not math.isfinite(number):
        raise UsageError(f"{_at(where)}{shown(value)} is not a finite number; write {accepted}")
    return number, unit


def _scaled(
    value: object, units: dict[str, float] | dict[str, int], bare: float, what: str, accepted: str, where: str
) -> float:
    number, unit = _split(value, what, accepted, where)
    if unit and unit not in units:
        raise UsageError(f"{_at(where)}{shown(value)} has an unknown unit {unit!r}; write {accepted}")
    if number < 0:
        raise UsageError(f"{_at(where)}{shown(value)} is negative; write {accepted}")
    factor = units[unit] if unit else bare
    # Dividing by a whole number is exact where multiplying by its reciprocal is not: 99.9% is 0.999.
    result = number * factor if factor >= 1 else number / round(1 / factor)
    if not math.isfinite(result):
        raise UsageError(f"{_at(where)}{shown(value)} is too large; write {accepted}")
    return result


def parse_duration(value: object, where: str = "", *, bare: str = "s") -> float:
    """A duration in seconds: ``30s``, ``0.5s``, ``250ms``, ``5m``, ``1h30m``; a number alone is in ``bare``."""
    return _duration(value, where, bare, TIME)


def _duration(value: object, where: str, bare: str, units: dict[str, float]) -> float:
    """In the unit whose factor in ``units`` is 1."""
    named = {"s": "seconds", "ms": "milliseconds"}[bare]
    accepted = f"a duration such as 30s, 500ms, 5m or 1h (a bare number is in {named})"
    if (
        isinstance(value, str)
        and re.fullmatch(_SPANS, text := value.strip().lower())
        and len(spans := re.findall(_SPAN, text)) > 1
    ):
        total = math.fsum(_scaled(number + unit, units, 1.0, "a duration", accepted, where) for number, unit in spans)
    else:
        total = _scaled(value, units, units[bare], "a duration", accepted, where)
    if total > LONGEST_S * units["s"]:
        raise UsageError(f"{_at(where)}{shown(value)} is more than a year; write {accepted}")
    return total


def parse_size(value: object, where: str = "") -> float:
    """A size in bytes: ``14GiB`` (2**30), ``100MB`` (10**6); a number alone is in bytes."""
    return _scaled(value, SIZE, 1, "a size", "a size such as 100MB or 14GiB (a bare number is in bytes)", where)


def parse_ratio(value: object, where: str = "") -> float:
    """A ratio 0…1: ``0.95`` or ``95%``."""
    accepted = "a ratio from 0 to 1, or a percentage such as 95%"
    ratio = _scaled(value, {"%": 0.01}, 1.0, "a ratio", accepted, where)
    if ratio > 1:
        raise UsageError(f"{_at(where)}{shown(value)} is more than 1; write {accepted}")
    return ratio


def parse_rate(value: object, where: str = "") -> float:
    """A rate per second: ``10/s``, ``600/min``; a number alone is per second."""
    return _scaled(
        value, RATE, 1.0, "a rate", "a rate such as 10, 10/s or 600/min (a bare number is per second)", where
    )


def parse_count(value: object, where: str = "", *, least: int = 0, most: int = 2**63 - 1) -> int:
    """A whole number from ``least`` to ``most``."""
    accepted = f"a whole number of at least {least}"
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,30}(?:_\d{1,30})*", value.strip(), re.ASCII):
        value = int(value)
    number, unit = _split(value, "a whole number", accepted, where)
    if unit or not number.is_integer():
        raise UsageError(f"{_at(where)}{shown(value)} is not a whole number; write {accepted}")
    whole = value if isinstance(value, int) else int(number)
    if whole < least:
        raise UsageError(f"{_at(where)}{shown(value)} is too small; write {accepted}")
    if whole > most:
        raise UsageError(f"{_at(where)}{shown(value)} is too large; write a whole number from {least} to {most}")
    return whole


class TokenLength:
    """A length in tokens: the same for all, or with a standard deviation ``sd``, then drawn log-normally."""

    __slots__ = ("mean", "sd")

    def __init__(self, mean: int, sd: int = 0) -> None:
        self.mean = mean
        self.sd = sd

    def __str__(self) -> str:
        return f"{self.mean}±{self.sd}" if self.sd else str(self.mean)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TokenLength) and (self.mean, self.sd) == (other.mean, other.sd)

    def __hash__(self) -> int:
        return hash((self.mean, self.sd))


def parse_tokens(value: object, where: str = "", *, most: int = 10**8) -> TokenLength:
    """A length in tokens: ``512``; with a standard deviation: ``512±128``, ``512+-128``."""
    if isinstance(value, TokenLength):
        return value
    mean, mark, spread = value.replace("+-", "±").partition("±") if isinstance(value, str) else (value, "", "")
    return TokenLength(
        parse_count(mean, where, least=1, most=most), parse_count(spread, where, most=most) if mark else 0
    )


def parse_quantity(value: object, unit: str, where: str = "") -> float:
    """A value of a metric in the metric's unit: with a unit of its own, or a number alone that is in ``unit``."""
    if unit == "ms":
        return _duration(value, where, "ms", MILLISECONDS)
    if unit == "bytes":
        return parse_size(value, where)
    if unit == "ratio":
        return parse_ratio(value, where)
    if unit == "1/s":
        return parse_rate(value, where)
    if unit == "tokens":
        return _scaled(value, TOKENS, 1, "a number of tokens", "a number of tokens such as 4096 or 8k", where)
    return _scaled(value, {}, 1, "a number", "a number", where)


# ── from numbers to text ─────────────────────────────────────────────────────────────────────────────────────────────

_TIME = ((3.6e3, 3.6e3, "h"), (120.0, 60.0, "min"), (0.9995, 1.0, "s"), (9.995e-4, 1e-3, "ms"), (9.995e-7, 1e-6, "µs"))
_SCALES: dict[str, tuple[tuple[float, float, str], ...]] = {
    # the least size from which a scale is used, what it divides by, its name
    "s": (*_TIME, (0.0, 1e-9, "ns")),
    "ms": (*((least * 1e3, divisor * 1e3, name) for least, divisor, name in _TIME), (0.0, 1e-6, "ns")),
    "bytes": (
        (2.0**40, 2.0**40, "TiB"), (2.0**30, 2.0**30, "GiB"), (2.0**20, 2.0**20, "MiB"), (2.0**10, 2.0**10, "KiB"),
        (0.0, 1.0, "B"),
    ),
    "ratio": ((0.0, 0.01, "%"),),
    "1/s": ((0.0, 1.0, "/s"),),
    "count": ((0.0, 1.0, ""),),
}  # fmt: skip
_ROUND_SIZES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
GOAL_DIGITS = 4


def digits_of(unit: str) -> int:
    """The significant digits of a figure; a share has one more, for 99.97 % is not 100 %."""
    return 4 if unit == "ratio" else 3


def scale(value: float, unit: str) -> tuple[float, str]:
    """What to divide by, and what that is called, so that ``value`` reads well: (1000, "s") for 2100 ms.

    ``unit`` is a metric's, or ``s``; one that is not known stays as it is.
    """
    scales = _SCALES.get(unit)
    if scales is None:
        return 1.0, unit
    size = abs(value)
    if size == 0.0 or not math.isfinite(size):
        return (1.0, unit) if unit in ("s", "ms") else scales[-1][1:]
    return next((divisor, name) for least, divisor, name in scales if size >= least)


def number(value: float | None, digits: int = 3) -> str:
    """``value`` with that many significant digits and no exponent; ∞ for what has no bound, – for nothing."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0.0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    if places > 6:
        return f"{value:.{digits - 1}e}"
    text = f"{value:.{places}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"{int(text):,}" if abs(value) >= 10_000 else text


def with_unit(text: str, name: str) -> str:
    """A number and its unit's name as they are written: ``431 ms``, ``14 GiB``, ``10/s``."""
    return text + name if name.startswith("/") else f"{text} {name}".rstrip()


def figure(value: float | None, unit: str, digits: int | None = None) -> str:
    """A measured ``value`` with its unit: ``431 ms``, ``2.1 s``, ``14 GiB``, ``0.7 %``."""
    if value is None or math.isnan(value):
        return "–"
    divisor, name = scale(value, unit)
    return with_unit(number(value / divisor, digits or digits_of(unit)), name)


def goal(value: float, unit: str) -> str:
    """A target or a setting with its unit, as one would have written it: sizes that are round in powers of ten stay so
    (``100 MB``), and so do times (``100 min`` rather than ``1.667 h``)."""
    if unit == "bytes" and value % 2**20:
        for size, name in _ROUND_SIZES:
            if value >= size and value % (size / 10) == 0:
                return with_unit(number(value / size, GOAL_DIGITS), name)
    divisor, name = scale(value, unit)
    if unit in ("s", "ms") and not _round(value / divisor):
        finer = next((each for each in _SCALES[unit] if each[1] < divisor and _round(value / each[1])), None)
        divisor, name = finer[1:] if finer else (divisor, name)
    return with_unit(number(value / divisor, GOAL_DIGITS), name)


def _round(value: float) -> bool:
    """Whether a goal's digits hold all of it."""
    return math.isfinite(value) and math.isclose(float(f"{value:.{GOAL_DIGITS}g}"), value, rel_tol=1e-12)
