"""What is asked of a test once it has run: that it awaited what it made, and that its criteria hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

from perfsuite.errors import UsageError
from perfsuite.evidence import Samples
from perfsuite.pytest_plugin import slo, undecided_fails
from perfsuite.pytest_plugin.awaited import FIXTURES, HOW, misuse, spoil
from perfsuite.pytest_plugin.measuring import Perf, PerfAsync
from perfsuite.pytest_plugin.slices import Slices
from perfsuite.result import MetricResult

if TYPE_CHECKING:
    from perfsuite.plan import Criterion
    from perfsuite.pytest_plugin.chat import ChatTarget

HELD: pytest.StashKey[list[MetricResult]] = pytest.StashKey()
"""The judgements of a test's marker."""
NOTES: pytest.StashKey[list[str]] = pytest.StashKey()
"""What else is to be said of a test."""


def criteria_of(item: pytest.Item) -> list[Criterion]:
    """The criteria of a test's markers; of one criterion in several the nearest counts.  A wrong one fails the test."""
    limits: dict[str, object] = {}
    for marker in reversed([*item.iter_markers("slo")]):
        if marker.args:
            pytest.fail(f"slo{marker.args}: a limit needs its name: write slo(p99_ms=50)", pytrace=False)
        limits |= marker.kwargs
    try:
        return slo.read(limits, "slo")
    except UsageError as error:
        wrong = str(error)
    pytest.fail(wrong, pytrace=False)


def all_awaited(item: pytest.Item, unawaited: Mapping[str, int]) -> None:
    """Fails the test where it made coroutines that it never awaited, or swallowed being told so."""
    funcargs: Mapping[str, Any] = getattr(item, "funcargs", {})
    for name in FIXTURES:
        if name in funcargs and (text := misuse(funcargs[name])):
            pytest.fail(text, pytrace=False)
    timer = funcargs.get("perf_async")
    if isinstance(timer, PerfAsync) and timer.forgotten:
        names = ", ".join(dict.fromkeys(timer.forgotten))
        pytest.fail(
            f"perf_async.time({names}) was never awaited and timed nothing: write await before it", pytrace=False
        )
    if unawaited:
        names = ", ".join(f"{name} ({count:,} times)" if count > 1 else name for name, count in unawaited.items())
        hint = (
            HOW if not {*FIXTURES}.isdisjoint(funcargs) else "await it, in perf_async.time(f) where it is to be timed"
        )
        text = f"made and never awaited, so that nothing of it ran: {names}; {hint}"
        for fixture in (funcargs[name] for name in FIXTURES if name in funcargs):
            spoil(fixture, text)
        pytest.fail(text, pytrace=False)


def within_limits(item: pytest.Item) -> None:
    """Holds what the test measured against its markers, and fails it where they are missed."""
    if item.get_closest_marker("slo") is None:
        return
    criteria = criteria_of(item)
    funcargs: Mapping[str, Any] = getattr(item, "funcargs", {})
    samples = samples_of(funcargs)
    if samples is None:
        if "benchmark" in funcargs:  # switched off, by xdist say: nobody timed anything
            item.stash.setdefault(NOTES, []).append("benchmark is switched off here: its slo was not held")
            return
        pytest.fail(
            "slo: nothing was measured: use the fixture perf (perf.time(f)), perf_async, chat_target or benchmark",
            pytrace=False,
        )
    found = slo.hold(samples, criteria)
    item.stash[HELD] = found
    if missed := slo.missed(found, undecided_fails=undecided_fails(item.config)):
        pytest.fail(missed, pytrace=False)


def samples_of(funcargs: Mapping[str, Any]) -> Samples | None:
    """What a test measured: by ``perf``, else by ``chat_target``, else by pytest-benchmark."""
    perf: Perf | None = funcargs.get("perf")
    if isinstance(perf, Perf) and perf.histogram.count:
        return perf.samples()
    target: ChatTarget | None = funcargs.get("chat_target")
    if target is not None and hasattr(target, "samples") and (asked := target.samples()).histogram.count + asked.failed:
        return asked
    return _benchmarked(funcargs.get("benchmark"))


def _benchmarked(fixture: Any) -> Samples | None:
    """Rounds of pytest-benchmark, in milliseconds; None where there are none."""
    data = getattr(getattr(getattr(fixture, "stats", None), "stats", None), "data", None)
    if not data or misuse(fixture):
        return None
    return of_seconds(data)


def of_seconds(data: Any) -> Samples:
    """Seconds in the order in which they were taken, as evidence in milliseconds."""
    from perfsuite._core import Histogram

    slices, whole = Slices(), Histogram()
    for seconds in data:
        whole.record(seconds * 1000.0)
        slices.record(seconds * 1000.0)
    return Samples(histogram=whole, blocks=slices.made)
