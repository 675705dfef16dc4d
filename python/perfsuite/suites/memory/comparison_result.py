"""The form of a comparison: what ``comparison_TS.json`` holds, and what the reports show."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from perfsuite.errors import UsageError
from perfsuite.result import Environment

Status = Literal["measured", "failed", "not installed", "not measured", "unverified"]
PLUMBING = "plumbing only"
SCHEMA_VERSION = 1


class Figure(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A value and the interval that it lies in (95 %); no value where there is a ``reason``.

    ``n``: questions or probes; ``clusters``: the conversations that they are about, which alone are independent.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    clusters: int = 0
    reason: str = ""


class Timing(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How long calls took, in ms, of all rounds together; failed ones count as longer than any other in a quantile.

    ``mean`` is of the calls that did not fail, in an interval from blocks of time.  ``rounds``: the median of each.
    ``void``: why these figures say nothing; then they are kept for the record, and no report shows them as a result.
    ``measuring_ms``: what measuring adds to a sample itself, not taken off.
    """

    samples: int = 0
    failed: int = 0
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    rounds: list[float] = []
    measuring_ms: float = 0.0
    first_errors: list[str] = []
    void: str = ""


class ModelUse(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What one call asked of the model, on average.  ``wait_ms`` is in the call's own time."""

    chat_calls: float = 0.0
    embedding_calls: float = 0.0
    prompt_characters: float = 0.0
    answer_characters: float = 0.0
    embedded_characters: float = 0.0
    wait_ms: float = 0.0


class Group(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One size of the seeded data, or one published set.  ``quality``: by kind of question (``all``), by measure."""

    name: str
    memories: int = 0
    questions: int = 0
    cases: int = 0
    rounds: int = 0
    digest: str = ""
    quality: dict[str, dict[str, Figure]] = {}
    store: Timing = msgspec.field(default_factory=Timing)
    recall: Timing = msgspec.field(default_factory=Timing)
    store_model: ModelUse = msgspec.field(default_factory=ModelUse)
    recall_model: ModelUse = msgspec.field(default_factory=ModelUse)
    flush_ms: float | None = None
    resident_bytes: int = 0
    disk_bytes: int = 0
    same_answers: bool | None = None

    @property
    def cost_ms(self) -> float | None:
        """One memory stored and asked for once, the model's time included; None where that is void or was not
        measured."""
        if self.store.void or self.recall.void or self.store.mean is None or self.recall.mean is None:
            return None
        return self.store.mean + self.recall.mean


class Visibility(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """When what was acknowledged is found.  ``at_once``: by the first look; ``found``: within ``waited_s``;
    ``delay_ms``: from the acknowledgement to the end of the look that found it, the median; and the longest."""

    at_once: Figure
    found: Figure
    delay_ms: float | None = None
    longest_ms: float | None = None
    waited_s: float = 0.0


class Durability(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a system that was killed (SIGKILL) finds when it is started again in its folder, of what it acknowledged.

    ``acknowledged``: stores that returned.  ``visible``: the share found before the kill; ``durable``: found after a
    kill right after the last acknowledgement; ``flushed``: after a kill that came after ``flush``.
    """

    acknowledged: int = 0
    visible: Figure = msgspec.field(default_factory=Figure)
    durable: Figure = msgspec.field(default_factory=Figure)
    flushed: Figure = msgspec.field(default_factory=Figure)


class SystemResult(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One system.  ``rests_on_stand_in``: it asked the stand-in for the model, so that its quality is nobody's."""

    name: str
    kind: str = ""
    status: Status = "measured"
    reason: str = ""
    baseline: bool = False
    version: str = ""
    configuration: dict[str, Any] = {}
    disabled: list[str] = []
    patches: list[str] = []
    notes: list[str] = []
    rests_on_stand_in: bool = False
    start_ms: float | None = None
    groups: list[Group] = []
    stored: Visibility | None = None
    updated: Visibility | None = None
    durability: Durability | None = None
    trouble: list[str] = []


class Paired(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How much higher ``a`` scores than ``b`` on the same questions; the p value is adjusted for all that are shown."""

    group: str
    measure: str
    a: str
    b: str
    difference: float
    low: float
    high: float
    p_value: float
    verdict: str


class Comparison(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A whole comparison.  ``heading``: what must stand above every figure of it; empty where nothing must."""

    schema_version: int = SCHEMA_VERSION
    kind: str = "comparison"
    id: str
    started: str
    ended: str
    heading: str = ""
    interrupted: bool = False
    settings: dict[str, Any] = {}
    data: str = ""
    tokenizer: str = ""
    model: str = ""
    rules: list[str] = []
    damaged: list[str] = []
    environment: Environment
    systems: list[SystemResult] = []
    pairs: list[Paired] = []

    def system(self, name: str) -> SystemResult:
        """The system of that name; KeyError when it is not in it."""
        for one in self.systems:
            if one.name == name:
                return one
        raise KeyError(name)

    @property
    def group_names(self) -> list[str]:
        """The sizes or sets, in the order in which they were taken."""
        return list(dict.fromkeys(group.name for one in self.systems for group in one.groups))


class _Kind(msgspec.Struct):
    kind: str = ""


def parse(data: bytes, where: str) -> Comparison | None:
    """A comparison's file; None for anything else, UsageError for one that is damaged or of another version."""
    try:
        if msgspec.json.decode(data, type=_Kind).kind != "comparison":
            return None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    try:
        found = msgspec.json.decode(data, type=Comparison)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{where} is no comparison of this version: {error}") from error
    if found.schema_version != SCHEMA_VERSION:
        raise UsageError(f"{where} is of schema version {found.schema_version}; this is for {SCHEMA_VERSION}")
    return found


def dump(comparison: Comparison) -> bytes:
    """As a file; numbers that JSON cannot hold are null."""
    return msgspec.json.format(msgspec.json.encode(comparison), indent=1) + b"\n"
