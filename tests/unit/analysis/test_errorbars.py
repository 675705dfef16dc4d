"""Error bars: which error is whose, and what it does to an interval and to a verdict."""

from __future__ import annotations

import math

import msgspec
import pytest

from checks_made import EXACT, a_check, load
from perfsuite.analysis.errorbars import bars_of, command_for, cpu_warnings, error_of, late_warning, with_error
from perfsuite.analysis.verdict import judge
from perfsuite.plan import Criterion
from perfsuite.result import MetricResult
from perfsuite.selfchecks import covers

WIDE = msgspec.structs.replace(EXACT, p50=1.0, p99=3.0)
CHECK = msgspec.structs.replace(a_check(), itl=WIDE, end=msgspec.structs.replace(EXACT, p99=7.0), rate=-0.01)


def metric(name: str = "itl", stat: str = "p50", value: float = 20.0, **changes: object) -> MetricResult:
    given = {"name": name, "unit": "ms", "kind": "histogram", "stat": stat, "value": value, "interval": (19.0, 21.0)}
    return MetricResult(**{**given, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "stat", "error"),
    [
        ("ttft", "mean", 0.004),
        ("service_ttft", "p95", 0.02),
        ("itl", "p50", 1.0),
        ("max_gap", "p99", 3.0),
        ("response_time", "max", 7.0),
        ("goodput", "value", 0.2),
        ("memory_usage", "max", None),
        ("error_rate", "value", None),
    ],
)
def test_each_metric_has_the_error_of_what_it_is_made_of(name: str, stat: str, error: float | None) -> None:
    assert error_of(name, stat, 20.0, CHECK) == (None if error is None else pytest.approx(error))
    widened = with_error(metric(name, stat), [CHECK])
    assert widened.measurement_error == (None if error is None else pytest.approx(error))
    assert widened.interval == pytest.approx((19.0 - (error or 0.0), 21.0 + (error or 0.0)))


def test_of_several_loads_the_least_certain_counts_and_one_unknown_leaves_none() -> None:
    better = msgspec.structs.replace(CHECK, itl=EXACT)
    assert with_error(metric(), [better, CHECK]).measurement_error == 1.0
    silent = msgspec.structs.replace(CHECK, itl=None)
    assert with_error(metric(), [silent, CHECK]) == metric()


def test_an_open_side_stays_open_and_nothing_takes_less_than_no_time() -> None:
    assert with_error(metric(interval=(0.5, None)), [CHECK]).interval == (0.0, None)
    assert with_error(metric(interval=(None, math.inf)), [CHECK]).interval == (None, math.inf)
    assert with_error(metric(interval=None), [CHECK]).interval == (19.0, 21.0)
    censored = metric(censored=True)
    assert with_error(censored, [CHECK]) == censored


@pytest.mark.parametrize(
    ("target", "comparison", "verdict", "said"),
    [
        (22.5, "<", "passed", ""),
        (21.5, "<", "undecided", "decided but for the client's own error, ±1 ms"),
        (20.5, "<", "undecided", "no further from its target than the client's own error, ±1 ms"),
        (17.5, "<", "failed", ""),
        (18.5, "<", "undecided", "decided but for the client's own error, ±1 ms"),
        (17.5, ">", "passed", ""),
        (18.5, ">", "undecided", "decided but for the client's own error, ±1 ms"),
    ],
)
def test_what_is_met_by_less_than_the_error_is_undecided(
    target: float, comparison: str, verdict: str, said: str
) -> None:
    asked = Criterion(metric="itl", stat="p50", comparison=comparison, target=target)  # type: ignore[arg-type]
    alone = judge(metric(), asked, 10.0).verdict
    judged = judge(with_error(metric(), [CHECK]), asked, 10.0)
    assert (judged.verdict, judged.reason) == (verdict, said)
    if target in (21.5, 18.5):
        assert alone in ("passed", "failed"), "without the error it would have been decided"


def test_a_longer_run_is_advised_for_what_a_longer_run_narrows() -> None:
    asked = Criterion(metric="itl", stat="p50", comparison="<", target=21.5)
    wide = with_error(metric(interval=(16.0, 24.0)), [CHECK])
    assert wide.interval == (15.0, 25.0)
    # From ±4 to within 0.5 of the value, for 1 of the 1.5 is the client's own: 64 times as long.
    assert judge(wide, asked, 10.0).reason == "run 11 min or more"
    assert judge(metric(interval=(16.0, 24.0)), asked, 10.0).reason == "run 90 s or more"


def test_a_load_that_is_not_covered_says_which_check_would() -> None:
    bars, check = bars_of("held", load(streams=600, chunks_per_s=6000.0), [a_check()])
    assert check is None
    assert (bars.checked, bars.text) == (None, "error not measured")
    assert bars.command == "perfsuite selfcheck --engine wire --scheme http --streams 600 --tokens-per-chunk 1"
    bars, check = bars_of("held", load(streams=60), [a_check()])
    assert check == a_check()
    assert bars.command == ""
    assert "128 streams" in bars.text
    dense = load(streams=10, chunks_per_s=10_000.0, tokens_per_chunk=1.0)
    assert command_for(dense).endswith("--pace 0.8ms")
    nominal = 1e3 * dense.streams / dense.pace_ms
    assert covers(msgspec.structs.replace(dense, chunks_per_s=nominal), dense)
    assert command_for(load(engine="httpx")) == ""
    assert command_for(load(scheme="ws", engine="asyncio")) == ""


def test_a_client_that_was_short_of_time_says_so() -> None:
    assert cpu_warnings(None, None) == cpu_warnings(0.1, 0.01) == []
    assert "0.35 s a second" in cpu_warnings(0.35, 0.0)[0]
    assert "12%" in cpu_warnings(0.0, 0.12)[0]
    assert late_warning(1, 50) == late_warning(0, 0) == late_warning(10, 1000) == []
    assert "20 of 1,000" in late_warning(20, 1000)[0]
