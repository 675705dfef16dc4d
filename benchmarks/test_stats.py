"""Statistics beside numpy and scipy, on the same data and with the same question."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable

import pytest

from perfsuite import stats

Contenders = dict[str, tuple[Callable[[], object], int]]
missing: dict[str, str] = {}

try:
    import numpy as np
except ImportError:
    np = None  # type: ignore[assignment]
try:
    import scipy.stats as scipy_stats
except ImportError:
    scipy_stats = None

_rng = random.Random(1)
SMALL = array("d", (_rng.lognormvariate(0, 1) for _ in range(1_000)))
X, Y = (array("d", (_rng.gauss(0, 1) for _ in range(10_000))) for _ in range(2))
SERIES = array("d", (_rng.gauss(0, 1) for _ in range(1_000)))
RESAMPLES = 10_000


def _with_scipy(label: str) -> bool:
    """Whether scipy can be measured; if not, why."""
    if np is None or scipy_stats is None:
        missing[label] = "scipy is not installed"
        return False
    return True


def bootstrap_contenders() -> Contenders:
    """The mean's bootstrap interval: n 1,000, 10,000 resamples."""
    found: Contenders = {"perfsuite": (lambda: stats.bootstrap_mean(SMALL), 1)}
    if np is not None:
        data, rng = np.asarray(SMALL), np.random.default_rng(1)

        def by_numpy() -> object:
            means = data[rng.integers(0, len(data), (RESAMPLES, len(data)))].mean(axis=1)
            return np.quantile(means, (0.025, 0.975))

        found["numpy"] = (by_numpy, 1)
    else:
        missing["numpy"] = "not installed"
    if _with_scipy("scipy"):
        rng = np.random.default_rng(1)
        data = np.asarray(SMALL)
        found["scipy"] = (lambda: scipy_stats.bootstrap((data,), np.mean, n_resamples=RESAMPLES, rng=rng), 1)
    return found


def p99_contenders() -> Contenders:
    """The interval of p99 of 1,000 samples."""
    found: Contenders = {"perfsuite": (lambda: stats.quantile_interval(SMALL, 0.99), 1)}
    if _with_scipy("scipy bootstrap"):
        data, rng = np.asarray(SMALL), np.random.default_rng(1)

        def p99(sample: object, axis: int = -1) -> object:
            return np.quantile(sample, 0.99, axis=axis)  # type: ignore[arg-type]

        found["scipy bootstrap"] = (
            lambda: scipy_stats.bootstrap((data,), p99, n_resamples=RESAMPLES, method="percentile", rng=rng),
            1,
        )
    return found


def mann_whitney_contenders() -> Contenders:
    """The rank test, 10,000 against 10,000."""
    found: Contenders = {"perfsuite": (lambda: stats.mann_whitney(X, Y), 1)}
    if _with_scipy("scipy"):
        x, y = np.asarray(X), np.asarray(Y)
        found["scipy"] = (lambda: scipy_stats.mannwhitneyu(x, y), 1)
    return found


def trend_contenders() -> Contenders:
    """Theil and Sen's line of 1,000 points."""
    found: Contenders = {"perfsuite": (lambda: stats.trend(SERIES), 1)}
    if _with_scipy("scipy"):
        y = np.asarray(SERIES)
        found["scipy"] = (lambda: scipy_stats.theilslopes(y), 1)
    return found


contenders = mann_whitney_contenders
PEERS: list[tuple[str, Callable[[], Contenders]]] = [
    ("bootstrap of the mean, n 1,000, B 10,000", bootstrap_contenders),
    ("interval of p99, n 1,000", p99_contenders),
    ("Mann–Whitney, n 10,000", mann_whitney_contenders),
    ("Theil–Sen, n 1,000", trend_contenders),
]
GOALS = {
    PEERS[0][0]: {"numpy": 4.0, "scipy": 4.0},
    PEERS[1][0]: {"scipy bootstrap": 1_000.0},
    PEERS[2][0]: {"scipy": 10.0},
}


def _run(benchmark, group: str, found: Contenders, label: str) -> None:  # type: ignore[no-untyped-def]
    if label not in found:
        pytest.skip(f"{label}: {'; '.join(missing.values())}")
    benchmark.group = group
    benchmark(found[label][0])


@pytest.mark.parametrize("label", ["perfsuite", "numpy", "scipy"])
def test_bootstrap(benchmark, label: str) -> None:  # type: ignore[no-untyped-def]
    _run(benchmark, PEERS[0][0], bootstrap_contenders(), label)


@pytest.mark.parametrize("label", ["perfsuite", "scipy bootstrap"])
def test_p99_interval(benchmark, label: str) -> None:  # type: ignore[no-untyped-def]
    _run(benchmark, PEERS[1][0], p99_contenders(), label)


@pytest.mark.parametrize("label", ["perfsuite", "scipy"])
def test_mann_whitney(benchmark, label: str) -> None:  # type: ignore[no-untyped-def]
    _run(benchmark, PEERS[2][0], mann_whitney_contenders(), label)


@pytest.mark.parametrize("label", ["perfsuite", "scipy"])
def test_trend(benchmark, label: str) -> None:  # type: ignore[no-untyped-def]
    _run(benchmark, PEERS[3][0], trend_contenders(), label)


def test_trend_of_20_000_points(benchmark) -> None:  # type: ignore[no-untyped-def]
    """200 million pairs, in bounded memory; scipy would take 3 GB."""
    y = array("d", (_rng.gauss(0, 1) for _ in range(20_000)))
    benchmark.pedantic(stats.trend, (y,), rounds=3)
