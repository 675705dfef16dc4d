"""rules.json: what the browser monitor and this analysis both go by."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Literal, TypeAlias

import msgspec

Form: TypeAlias = Literal["ms", "s", "count", "bytes", "mb", "percent", "trend"]


class Threshold(msgspec.Struct, frozen=True):
    """A limit, and how it is written."""

    value: float
    form: Form
    meaning: str


class Rise(msgspec.Struct, frozen=True):
    """When a field of the samples grows: by its middle or least of each third, and at least so many times over."""

    field: str
    of: Literal["median", "min"]
    ratio: float


class Growth(msgspec.Struct, frozen=True):
    """Growth of each figure, of so many samples and more."""

    samples: int
    figures: dict[str, Rise]


class Line(msgspec.Struct, frozen=True):
    """One of the report's metrics."""

    label: str
    figure: str
    form: Form


class Rule(msgspec.Struct, frozen=True):
    """What is an issue: a figure over a number, or over a threshold by its name."""

    id: str
    figure: str
    form: Form
    over: float | str
    text: str
    recommendation: str


class Rules(msgspec.Struct, frozen=True):
    """All of it."""

    thresholds: dict[str, Threshold]
    recent: int
    sharesFromMs: float
    """A session that is shorter has no share of its time: what loading takes is most of it."""
    growth: Growth
    metrics: list[Line]
    issues: list[Rule]


@cache
def rules() -> Rules:
    """The rules, read once."""
    return msgspec.json.decode((files("perfsuite.realtime") / "rules.json").read_bytes(), type=Rules)
