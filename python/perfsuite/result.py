"""The result file: what a run measured, and how it was judged.

The structs below are the file's form, field for field (schema version 1); ``schema()`` is the same as a JSON Schema.
They are immutable: a changed copy comes from ``msgspec.structs.replace``.

Numbers that JSON does not have (infinities, NaN) are written as null.  In an interval null is an open side: in
``[431.0, null]`` nothing bounds the value from above.  In memory the same side may be an infinity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from perfsuite.atomic import read_regular
from perfsuite.errors import UsageError
from perfsuite.frames import Tables, columns
from perfsuite.metric import Comparison, Kind

if TYPE_CHECKING:
    import os

    from bokeh.models import LayoutDOM

    from perfsuite._core import Histogram

SCHEMA_VERSION = 1
LARGEST_FILE = 1 << 30

Verdict = Literal["passed", "failed", "undecided", "informative", "not measured"]
PhaseVerdict = Literal["passed", "failed", "undecided", "not measured", "interrupted"]
RequirementVerdict = Literal["passed", "failed", "undecided", "not measured"]
Bound = float | None
Interval = tuple[Bound, Bound]
Series = list[tuple[float, float | None]]


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """The shape of a distribution, in the metric's unit; None where no answer was there to take it from, or where the
    quantile falls among the failed requests."""

    mean: float | None = None
    min: float | None = None
    max: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    p999: float | None = None


class Slices(msgspec.Struct, frozen=True, kw_only=True):
    """A distribution over time: of the values seen in the ``width_s`` seconds from ``t_s[i]`` (seconds into the load)
    on, ``counts[i][k]`` lie from ``edges[k]`` to ``edges[k + 1]``.  Slices without a value are left out."""

    t_s: list[float]
    width_s: float
    edges: list[float]
    counts: list[list[int]]


class MetricResult(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of a phase, held against at most one criterion.

    ``value`` is what is held against ``target``: the ``stat`` (``mean``, ``p95``, ``value``, …) of the metric, in
    ``unit``; None when not measured.  ``interval`` contains it with 95 % confidence, the measurement's own error
    included.  ``samples`` observations are worth ``n_effective`` independent ones.  ``censored``: the value falls
    among the failed requests; it reads "> value", the longest wait.  ``measurement_error``: how far the measurement
    itself may be off, in ``unit``.  ``histogram`` is the base64 of ``Histogram.to_bytes``; ``stretches`` has, by
    statistic, what it was in up to ten consecutive stretches of the measured time, of the answers alone; ``slices``:
    how the distribution went over time; ``without``: why it has no ``histogram`` or no ``series``, by that name, where
    it was measured and has none; ``details`` what else the probe had to say (codecs by size, tokens by agent).
    """

    name: str
    unit: str
    kind: Kind
    value: float | None = None
    stat: str = "value"
    target: float | None = None
    comparison: Comparison | None = None
    critical: bool = False
    required: bool = False
    origin: str | None = None
    verdict: Verdict = "informative"
    reason: str = ""
    samples: int = 0
    n_effective: float | None = None
    interval: Interval | None = None
    censored: bool = False
    measurement_error: float | None = None
    stats: Stats | None = None
    histogram: str | None = None
    series: Series = msgspec.field(default_factory=list)
    stretches: dict[str, list[float]] = msgspec.field(default_factory=dict)
    slices: Slices | None = None
    without: dict[str, str] = msgspec.field(default_factory=dict)
    details: dict[str, Any] = msgspec.field(default_factory=dict)
    definition: str = ""

    def distribution(self) -> Histogram | None:
        """The histogram, decoded; None where the metric has none.  Raises UsageError when it is damaged."""
        if self.histogram is None:
            return None
        import binascii

        from perfsuite._core import Histogram

        try:
            return Histogram.from_bytes(binascii.a2b_base64(self.histogram, strict_mode=True))
        except (ValueError, binascii.Error) as error:
            raise UsageError(f"the histogram of {self.name} in the result file is damaged: {error}") from error


class ErrorCount(msgspec.Struct, frozen=True, kw_only=True):
    """Failed requests of one kind, with the texts of the first few."""

    kind: str
    count: int
    first: list[str] = msgspec.field(default_factory=list)


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened at ``t_s`` seconds into its phase."""

    t_s: float
    text: str


class ErrorBars(msgspec.Struct, frozen=True, kw_only=True):
    """The conditions of one driven load over the wire, and whether the client's own error under them is known.

    ``streams`` answers were under way at a time, ``chunks_per_s`` came of all together.  ``checked`` is when
    ``perfsuite selfcheck`` covered these conditions on this machine, ``text`` what it found; where it is None
    ``command`` would tell."""

    stretch: str
    engine: str
    scheme: str
    streams: int
    tokens_per_chunk: float
    chunks_per_s: float
    checked: str | None = None
    text: str = "error not measured"
    command: str = ""


class Requirement(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a checkpoint, ``text`` as its document has it, and how it stands.

    ``rests_on``: the figures of the phase by ``metric.stat``, those that stand against it first; ``why``: what else
    does."""

    text: str
    verdict: RequirementVerdict
    rests_on: list[str] = msgspec.field(default_factory=list)
    why: list[str] = msgspec.field(default_factory=list)


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """One of a collector's series, ``[[t_s, value], …]``, in a unit of the catalogue (``bytes``, ``1/s``, …)."""

    unit: str
    series: Series


class PhaseResult(msgspec.Struct, frozen=True, kw_only=True):
    """One phase: its verdict, what was asked of the load and what came of it, and its metrics in the order of the plan.

    ``errors`` are failed requests; ``unhandled`` are errors that nobody expected, which fail the phase, as does a load
    that was ``undelivered`` (by stretch, what was asked and not sent).  ``windows`` are the one-second windows, as
    columns of one length by name (``due``, ``ok``, ``failed``, …).  ``load_began_s``: when in the phase their load
    began, whose times the series of streamed metrics have too.  ``resources`` are the collectors' series by name.
    ``error_bars``: of each load over the wire, how far the client's own figures may be off; ``warnings``: what else the
    client met that its figures may have suffered from.  ``requirements``: the lines of a checkpoint; none elsewhere.
    """

    name: str
    verdict: PhaseVerdict
    title: str = ""
    reason: str = ""
    duration_s: float = 0.0
    errors: list[ErrorCount] = msgspec.field(default_factory=list)
    unhandled: list[str] = msgspec.field(default_factory=list)
    undelivered: list[str] = msgspec.field(default_factory=list)
    requested: dict[str, Any] = msgspec.field(default_factory=dict)
    delivered: dict[str, Any] = msgspec.field(default_factory=dict)
    metrics: list[MetricResult] = msgspec.field(default_factory=list)
    events: list[Event] = msgspec.field(default_factory=list)
    resources: dict[str, Resource] = msgspec.field(default_factory=dict)
    windows: dict[str, list[int | float | None]] = msgspec.field(default_factory=dict)
    load_began_s: float | None = None
    error_bars: list[ErrorBars] = msgspec.field(default_factory=list)
    warnings: list[str] = msgspec.field(default_factory=list)
    requirements: list[Requirement] = msgspec.field(default_factory=list)

    def metric(self, name: str, stat: str | None = None) -> MetricResult | None:
        """The metric of that name (and stat), or None."""
        return next((m for m in self.metrics if m.name == name and stat in (None, m.stat)), None)


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """The run as a whole.  ``started`` and ``ended`` are ISO 8601 with the zone; ``plan`` is the configuration;
    ``simulated`` says what of the system was not real; ``error`` is why it ended before its time."""

    id: str
    started: str
    target: str
    ended: str | None = None
    seed: int = 0
    profile: str = "quick"
    plan: dict[str, Any] = msgspec.field(default_factory=dict)
    simulated: list[str] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)
    error: str | None = None
    exit_code: int = 0
    verdict: PhaseVerdict = "interrupted"


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Where it ran.  ``clock`` names the clock and its resolution, ``stamps`` where the times of the wire come from,
    ``collectors`` what of a container, of GPUs and (where asked for) of a cloud there is, or why it is absent."""

    host: str
    os: str
    cpu: str
    cores: int
    memory_bytes: int
    python: str
    perfsuite: str
    commit: str | None = None
    clock: str = ""
    stamps: str = ""
    packages: dict[str, str] = msgspec.field(default_factory=dict)
    collectors: dict[str, str] = msgspec.field(default_factory=dict)


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """What to look at, and the metrics (``phase.metric``) whose figures point to it."""

    text: str
    because: list[str]


class Result(msgspec.Struct, Tables, frozen=True, kw_only=True):
    """A whole run: the content of ``results-TS.json``."""

    run: Run
    environment: Environment
    phases: list[PhaseResult] = msgspec.field(default_factory=list)
    recommendations: list[Recommendation] = msgspec.field(default_factory=list)
    schema_version: Literal[1] = 1

    @property
    def verdict(self) -> PhaseVerdict:
        """The run's verdict."""
        return self.run.verdict

    @property
    def metrics(self) -> dict[str, MetricResult]:
        """Every metric by ``phase.metric``; where a metric is held against several criteria, the further ones are
        ``phase.metric.stat``."""
        found: dict[str, MetricResult] = {}
        for phase in self.phases:
            for metric in phase.metrics:
                name = f"{phase.name}.{metric.name}"
                found[name if name not in found else f"{name}.{metric.stat}"] = metric
        return found

    def plot(self) -> LayoutDOM:
        """All charts of the run below one another, as a Bokeh layout: ``bokeh.io.show(result.plot())``."""
        drawn: LayoutDOM = _above("charts").layout(self)
        return drawn

    def __repr__(self) -> str:
        """One line; the whole of it is what ``dump`` gives."""
        phases = ", ".join(f"{phase.name} {phase.verdict}" for phase in self.phases)
        return f"<perfsuite.Result {self.run.verdict}, {self.run.target}: {phases or 'no phase'}>"

    def _repr_html_(self) -> str:
        """A notebook's view: the verdict and the figures that were held against a target, without scripts."""
        shown: str = _above("reports.notebook").fragment(self)
        return shown

    def phase(self, name: str) -> PhaseResult:
        """The phase of that name; KeyError when the run had none."""
        for phase in self.phases:
            if phase.name == name:
                return phase
        raise KeyError(name)

    def rows(self, what: str = "metrics") -> list[tuple[object, ...]]:
        """The rows of a table, in the order of ``frames.COLUMNS``: of ``metrics`` one a metric, of ``series`` one for
        each point of each metric's series.  Raises UsageError for another name."""
        columns(what)
        each = [(phase, metric) for phase in self.phases for metric in phase.metrics]
        if what == "series":
            return [(phase.name, metric.name, *point) for phase, metric in each for point in metric.series]
        made: list[tuple[object, ...]] = []
        for phase, m in each:
            s = m.stats or Stats()
            whole = (phase.name, m.name, m.unit, m.value, m.target, m.verdict, m.samples)
            made.append((*whole, s.mean, s.p50, s.p95, s.p99))
        return made


def _above(room: str) -> Any:
    """A room by its name: what shows results lies above what they are, and is loaded when it is asked for."""
    from importlib import import_module

    return import_module(f"perfsuite.{room}")


class _Versioned(msgspec.Struct):
    schema_version: Any = None


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the result file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:perfsuite:result:{SCHEMA_VERSION}",
        "title": "perfsuite result",
        "version": SCHEMA_VERSION,
        "required": ["schema_version"],
        **msgspec.json.schema(Result),
    }


def dump(result: Result) -> bytes:
    """The result as UTF-8 JSON: the same bytes for the same result, a line for each metric, so that two files can be
    compared line by line.

    Text that UTF-8 cannot hold (lone surrogates from a server's mangled answer) is written with ``?``, a number that
    JSON cannot hold as null: what was measured is never lost to a character.  Raises TypeError for a value in
    ``details`` or ``plan`` that is no data.
    """
    try:
        return _render(result)
    except (UnicodeEncodeError, OverflowError):
        return _render(msgspec.convert(_representable(msgspec.to_builtins(result, enc_hook=_encode_other)), Result))


def load(path: str | os.PathLike[str]) -> Result:
    """Reads a result file, a partial one too (its verdict is ``interrupted``).

    Raises UsageError when it is missing, unreadable, no regular file, over 1 GiB, empty, cut off, not JSON, no result,
    or of another schema version.
    """
    return parse(read_regular(path, LARGEST_FILE), str(path))


def parse(data: bytes, where: str = "the result") -> Result:
    """A result from its JSON; ``where`` names it in messages."""
    if not data.strip():
        raise UsageError(f"{where} is empty: it is not a perfsuite result")
    try:
        version = msgspec.json.decode(data, type=_Versioned).schema_version
        if version is None:
            raise UsageError(f"{where} is JSON but not a perfsuite result: it has no schema_version")
        if version != SCHEMA_VERSION or isinstance(version, bool):
            newer = isinstance(version, int) and version > SCHEMA_VERSION
            todo = "use the perfsuite that wrote it, or a newer one" if newer else "run the measurement again"
            raise UsageError(f"{where} has schema version {version!r}; this perfsuite reads {SCHEMA_VERSION}: {todo}")
        return msgspec.json.decode(data, type=Result)
    except msgspec.ValidationError as error:
        raise UsageError(f"{where} is not a perfsuite result: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if "truncated" in str(error) or str(error).endswith(f"(byte {len(data)})"):  # in the middle of a number
            raise UsageError(f"{where} is cut off after {len(data):,} bytes: take a whole copy of the file") from error
        raise UsageError(f"{where} is not JSON: {error}") from error
    except RecursionError as error:
        raise UsageError(f"{where} is nested too deeply to be a perfsuite result") from error


def encode_histogram(histogram: Histogram) -> str:
    """The base64 that ``MetricResult.histogram`` holds."""
    import base64

    return base64.b64encode(histogram.to_bytes()).decode("ascii")


def _render(result: Result) -> bytes:
    """One line for each part of the head, each phase's head and each metric."""
    lines = [f'{{"schema_version": {result.schema_version},'.encode()]
    lines += [b'"run": ' + _encode(result.run) + b",", b'"environment": ' + _encode(result.environment) + b","]
    lines.append(b'"phases": [')
    for i, phase in enumerate(result.phases):
        fields = [
            f"{_encode(name).decode()}: ".encode() + _encode(getattr(phase, name))
            for name in phase.__struct_fields__
            if name != "metrics"
        ]
        lines.append(b"{" + b",\n ".join(fields) + b',\n "metrics": [')
        lines.append(b",\n".join(b"  " + _encode(metric) for metric in phase.metrics))
        lines.append(b" ]}" + (b"," if i + 1 < len(result.phases) else b""))
    lines += [b"],", b'"recommendations": ' + _encode(result.recommendations) + b"}", b""]
    return b"\n".join(lines)


def _encode(value: object) -> bytes:
    return msgspec.json.encode(value, enc_hook=_encode_other)


def _encode_other(value: object) -> object:
    import os

    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, range):
        return list(value)
    raise TypeError(f"a result holds data only: {type(value).__name__} {value!r} cannot be written as JSON")


def _representable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        return float(value) if abs(value) < 1 << 1023 else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_representable(k): _representable(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [_representable(v) for v in value]
    return value
