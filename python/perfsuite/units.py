"""Quantities as people write them: ``500ms``, ``14GiB``, ``95%``, ``10/s``, and back.

A metric's unit is one of ``ms``, ``bytes``, ``ratio``, ``1/s``, ``tokens`` and ``count``; ``parse_quantity`` reads a
value of any of them.  Every parser takes text or a plain number, and a ``where`` that its error begins with: the flag,
the variable, the file and key.
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
_QUANTITY = re.compile(rf"({_NUMBER})\s*([^\d\s.+-][^\s.+]*)?", re.ASCII)
_SPANS = re.compile(rf"(?:{_NUMBER}\s*[a-zµμ]+\s*)+")
_SPAN = re.compile(rf"({_NUMBER})\s*([a-zµμ]+)")


def _at(where: str) -> str:
    return f"{where}: " if where else ""


def _split(value: object, what: str, accepted: str, where: str) -> tuple[float, str]:
    """The number and the unit (lower case, maybe empty) of ``value``."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise UsageError(f"{_at(where)}{shown(value)} is not {what}; write {accepted}")
    if isinstance(value, str):
        match = _QUANTITY.fullmatch(value.strip())
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
        and _SPANS.fullmatch(text := value.strip().lower())
        and len(spans := _SPAN.findall(text)) > 1
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


def _short(number: float) -> str:
    """``number`` with four significant digits and nothing superfluous."""
    if number and (abs(number) >= 1e15 or abs(number) < 1e-3):
        return f"{number:.3g}"
    text = f"{number:.{max(0, 3 - math.floor(math.log10(abs(number))))}f}" if number else "0"
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_duration(seconds: float) -> str:
    """``seconds`` as one would say it: ``250 ms``, ``4.5 s``, ``1 min 30 s``, ``2 h``."""
    if not math.isfinite(seconds):
        return "∞" if seconds > 0 else str(seconds)
    if abs(seconds) < 1e-6 and seconds:
        return f"{_short(seconds * 1e9)} ns"
    if abs(seconds) < 1e-3 and seconds:
        return f"{_short(seconds * 1e6)} µs"
    if abs(seconds) < 0.9995 and seconds:
        return f"{_short(seconds * 1e3)} ms"
    if abs(seconds) < 60:
        return f"{_short(seconds)} s"
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    parts = [(hours, "h"), (minutes, "min"), (0 if hours else left, "s")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number)


def format_size(size: float) -> str:
    """``size`` bytes in the largest unit that leaves at least one: ``14 GiB``, ``95.4 MiB``; what is round in powers of
    ten, as ``100 MB`` is, stays so."""
    for factor, unit in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB")):
        if size and size % factor == 0 and size % 2**20:
            return f"{_short(size / factor)} {unit}"
    for factor, unit in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if abs(size) >= factor:
            return f"{_short(size / factor)} {unit}"
    return f"{_short(size)} B"


def format_quantity(value: float, unit: str) -> str:
    """A metric's value with its unit."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "-∞" if value < 0 else "nan"
    if unit == "ms":
        return format_duration(value / 1e3)
    if unit == "bytes":
        return format_size(value)
    if unit == "ratio":
        return f"{_short(value * 100)} %"
    if unit == "1/s":
        return f"{_short(value)}/s"
    return f"{_short(value)} tokens" if unit == "tokens" else _short(value)
