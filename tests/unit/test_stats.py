"""perfsuite.stats against scipy, against simple models, and against the truth by simulation."""

from __future__ import annotations

import array
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfsuite import Histogram, _core, stats
from perfsuite.stats.intervals import histogram_median, histogram_quantile, nearest_rank

np = pytest.importorskip("numpy", reason="numpy is the reference: pip install numpy")
scipy_stats = pytest.importorskip("scipy.stats", reason="scipy is the reference: pip install scipy")
special = pytest.importorskip("scipy.special")

finite = st.floats(-1e6, 1e6)
few_values = st.sampled_from([-1.0, -0.0, 0.0, 0.5, 0.5, 1.0, 3.0])


# ── distributions ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("a", [1e-3, 0.3, 0.5, 1.0, 2.5, 40.0, 3e3, 1e6])
@pytest.mark.parametrize("b", [1e-3, 0.5, 1.0, 7.0, 500.0, 2e6])
def test_beta_cdf_and_quantile_against_scipy(a: float, b: float) -> None:
    mean = a / (a + b)
    for x in (1e-9, 0.01, 0.3, 0.5 * mean, 0.99 * mean, mean, min(1 - 1e-9, 1.01 * mean), 0.9):
        ours, theirs = _core.beta_cdf(a, b, x), float(special.betainc(a, b, x))
        assert ours == pytest.approx(theirs, rel=2e-11, abs=1e-290)
    for p in (1e-10, 1e-3, 0.025, 0.5, 0.8, 0.975):
        x = _core.beta_quantile(a, b, p)
        if 1e-280 < x < 1 - 1e-6:  # nearer to 1 the rounding of x itself shows
            assert float(special.betainc(a, b, x)) == pytest.approx(p, rel=1e-9)


@pytest.mark.parametrize("df", [0.5, 1.0, 1.7, 2.0, 5.0, 30.3, 1e3, 1e6, 1e9])
def test_t_against_scipy(df: float) -> None:
    for t in (-8.0, -1.0, 0.0, 1e-5, 0.3, 2.0, 9.0, 40.0):
        assert _core.t_tail(t, df) == pytest.approx(float(scipy_stats.t.sf(t, df)), rel=1e-10, abs=1e-290)
    for p in (1e-12, 1e-4, 0.01, 0.3, 0.5, 0.6, 0.975, 0.9999):
        assert _core.t_quantile(p, df) == pytest.approx(float(scipy_stats.t.ppf(p, df)), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("p", [1e-300, 1e-15, 1e-5, 0.01, 0.4, 0.5, 0.7, 0.975, 1 - 1e-12])
def test_normal_against_scipy(p: float) -> None:
    z = float(scipy_stats.norm.ppf(p))
    assert _core.normal_quantile(p) == pytest.approx(z, rel=1e-12, abs=1e-15)
    assert _core.normal_tail(z) == pytest.approx(float(scipy_stats.norm.sf(z)), rel=1e-12)


@pytest.mark.parametrize(
    "call", [lambda: _core.beta_cdf(0, 1, 0.5), lambda: _core.beta_quantile(1, 1, 2), lambda: _core.t_tail(0, -1),
             lambda: _core.t_quantile(2, 5), lambda: _core.normal_quantile(-0.1)],
)  # fmt: skip
def test_distributions_refuse_what_is_outside(call: object) -> None:
    with pytest.raises(ValueError, match="out of range"):
        call()  # type: ignore[operator]


# ── quantiles and their intervals ────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.one_of(finite, few_values), min_size=1, max_size=300), st.lists(st.floats(0, 1), max_size=4))
def test_quantiles_are_nearest_rank(data: list[float], qs: list[float]) -> None:
    ordered = sorted(data)
    expected = []
    for q in qs:
        exact = q * len(data)
        rank = round(exact) if abs(exact - round(exact)) <= 1e-12 * max(1, exact) else math.ceil(exact)
        expected.append(ordered[max(1, min(len(data), rank)) - 1])
    assert stats.quantiles(data, qs) == tuple(expected)


def test_quantile_of_a_decimal_fraction_is_not_one_rank_late() -> None:
    assert 0.07 * 100 > 7  # the trap
    assert stats.quantiles(range(1, 101), [0.07, 0.29, 0.57]) == (7.0, 29.0, 57.0)


@given(
    st.integers(1, 2000),
    st.sampled_from([0.01, 0.1, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999]),
    st.sampled_from([0.8, 0.95, 0.99]),
)
def test_quantile_ranks_cover_and_no_closer_equal_tail_would(n: int, q: float, confidence: float) -> None:
    low, high = stats.quantile_ranks(n, q, confidence)
    binom = scipy_stats.binom(n, q)
    below = float(binom.cdf(low - 1)) if low else 0.0
    above = float(binom.sf(high - 1)) if high else 0.0
    alpha = 1 - confidence
    assert below + above <= alpha * (1 + 1e-9)
    assert low is None or 1 <= low <= n
    assert high is None or 1 <= high <= n
    if low and high and below <= alpha / 2 and above <= alpha / 2:
        assert float(binom.cdf(low)) > alpha / 2 or high <= low + 1 or above > 0  # the next rank costs too much
        assert float(binom.sf(high - 2)) > alpha / 2
    if high is None:  # open only because the maximum itself is not enough
        assert q**n > alpha or (q < 0.5 and q**n > 0)
    if low is None:
        assert (1 - q) ** n > alpha - above - 1e-12


def test_p99_needs_299_samples() -> None:
    assert stats.samples_needed(0.99) == 299
    assert stats.samples_needed(0.01) == 299
    assert stats.samples_needed(0.5) == 6
    assert stats.quantile_ranks(298, 0.99)[1] is None
    assert stats.quantile_ranks(299, 0.99)[1] == 299
    for q in (0.5, 0.9, 0.95, 0.999):
        n = stats.samples_needed(q)
        assert None not in stats.quantile_ranks(n, q)
        assert None in stats.quantile_ranks(n - 1, q)


@pytest.mark.parametrize("q", [0.0, 0.07, 0.1, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0])
def test_the_rank_by_hand_is_the_one_of_quantiles(q: float) -> None:
    for n in range(1, 1200):
        assert stats.quantiles(range(1, n + 1), (q,)) == (float(nearest_rank(n, q)),)


def test_quantile_interval_opens_rather_than_pretends() -> None:
    estimate, low, high = stats.quantile_interval(range(100), 0.99)
    assert (estimate, high) == (98.0, math.inf)
    assert low > 0
    assert stats.quantile_interval([5.0], 0.5) == (5.0, -math.inf, math.inf)


@pytest.mark.parametrize(("q", "n"), [(0.5, 50), (0.99, 400), (0.95, 80)])
def test_quantile_interval_covers_the_truth(q: float, n: int) -> None:
    rng = np.random.default_rng(7)
    truth = -math.log1p(-q)
    covered = 0
    for _ in range(2000):
        _, low, high = stats.quantile_interval(rng.exponential(size=n), q)
        covered += low <= truth <= high
    assert covered / 2000 > 0.94


def test_quantile_ranks_take_an_effective_size() -> None:
    low, high = stats.quantile_ranks(412.7, 0.9)
    assert low is not None
    assert high is not None
    around = (stats.quantile_ranks(412, 0.9), stats.quantile_ranks(413, 0.9))
    assert min(a[0] for a in around) <= low <= max(a[0] for a in around)
    assert min(a[1] for a in around) <= high <= max(a[1] for a in around)
    assert stats.quantile_ranks(299.5, 0.99)[1] == 300  # the maximum


@given(st.integers(1, 3000), st.sampled_from([0.05, 0.5, 0.9, 0.99]))
def test_quantile_fractions_lead_back_to_the_ranks(n: int, q: float) -> None:
    for rank, fraction in zip(stats.quantile_ranks(n, q), stats.quantile_fractions(n, q), strict=True):
        assert (rank is None) == (fraction is None)
        if rank is not None and fraction is not None:
            assert 0 < fraction <= 1
            assert math.ceil(fraction * n) == rank


# ── shares and means ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_failure_of_50_still_allows_5_8_percent() -> None:
    estimate, low, high = stats.share_interval(0, 50)
    assert (estimate, low) == (0.0, 0.0)
    assert high == pytest.approx(0.0582, abs=5e-5)
    assert stats.share_interval(50, 50) == (1.0, pytest.approx(1 - high), 1.0)


@given(st.integers(2, 500).flatmap(lambda n: st.tuples(st.integers(1, n - 1), st.just(n))))
def test_share_interval_is_clopper_pearson(case: tuple[int, int]) -> None:
    hits, trials = case
    theirs = scipy_stats.binomtest(hits, trials).proportion_ci(0.95, method="exact")
    ours = stats.share_interval(hits, trials)
    assert ours.estimate == hits / trials
    assert ours.low == pytest.approx(theirs.low, rel=1e-6)
    assert ours.high == pytest.approx(theirs.high, rel=1e-6)


@pytest.mark.parametrize(("hits", "trials"), [(1, 0), (3, 2), (-1, 5), (math.nan, 5), (1, math.inf)])
def test_share_interval_refuses_what_is_no_share(hits: float, trials: float) -> None:
    with pytest.raises(ValueError, match="no share"):
        stats.share_interval(hits, trials)


@given(st.lists(finite, min_size=2, max_size=50))
def test_mean_interval_is_students(data: list[float]) -> None:
    mean, low, high = stats.mean_interval(data)
    n, error = len(data), np.std(data, ddof=1) / math.sqrt(len(data))
    margin = scipy_stats.t.ppf(0.975, n - 1) * error
    scale = max(1.0, *map(abs, data))
    assert mean == pytest.approx(np.mean(data), abs=1e-12 * scale)
    assert (low, high) == pytest.approx((mean - margin, mean + margin), abs=1e-9 * scale)
    wider = stats.mean_interval(data, n_effective=n / 2)
    assert wider.low <= low
    assert wider.high >= high
    assert stats.mean_interval(data[:1]) == (data[0], -math.inf, math.inf)


def test_bootstrap_matches_scipys_bca() -> None:
    data = np.random.default_rng(3).lognormal(size=200)
    ours = stats.bootstrap_mean(data, resamples=200_000)
    theirs = scipy_stats.bootstrap(
        (data,), np.mean, n_resamples=100_000, batch=5000, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    error = float(np.std(data) / math.sqrt(200))
    assert ours.estimate == pytest.approx(float(np.mean(data)))
    assert ours.low == pytest.approx(theirs.low, abs=0.05 * error)  # both carry the noise of their resamples
    assert ours.high == pytest.approx(theirs.high, abs=0.05 * error)


def test_bootstrap_is_seeded_and_handles_edges() -> None:
    data = [math.exp(math.sin(i * i)) for i in range(50)]
    assert stats.bootstrap_mean(data, seed=5) == stats.bootstrap_mean(data, seed=5)
    assert stats.bootstrap_mean(data, seed=5) != stats.bootstrap_mean(data, seed=6)
    assert stats.bootstrap_mean([3.0]) == (3.0, 3.0, 3.0)
    assert stats.bootstrap_mean([3.0] * 9) == (3.0, 3.0, 3.0)
    with pytest.raises(ValueError, match="resamples"):
        stats.bootstrap_mean(data, resamples=1)


# ── inputs ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "call",
    [lambda d: stats.quantile_interval(d, 0.5), stats.bootstrap_mean, lambda d: stats.mann_whitney([1.0], d),
     stats.trend, stats.change_points, stats.effective_size, lambda d: stats.quantiles(d, [0.5])],
)  # fmt: skip
def test_not_finite_is_refused_with_its_index(call: object, bad: float) -> None:
    with pytest.raises(ValueError, match=r"\[2\] is (nan|infinite)"):
        call([1.0, 2.0, bad, 4.0])  # type: ignore[operator]


@pytest.mark.parametrize("code", ["d", "f", "b", "h", "i", "l", "q", "B", "H", "I", "L", "Q"])
def test_every_number_buffer_is_read(code: str) -> None:
    data = array.array(code, [3, 1, 2])
    assert stats.quantiles(data, [0, 0.5, 1]) == (1.0, 2.0, 3.0)
    assert stats.quantiles(memoryview(data)[::-2], [0, 1]) == (2.0, 3.0)


def test_other_inputs() -> None:
    assert stats.quantiles(np.array([3, 1, 2], dtype=">f8"), [0, 1]) == (1.0, 3.0)  # not native: item by item
    assert stats.quantiles(np.arange(6.0)[::2], [0, 1]) == (0.0, 4.0)
    assert stats.quantiles((x for x in (2, True, 0.5)), [0, 1]) == (0.5, 2.0)
    with pytest.raises(ValueError, match="2 dimensions"):
        stats.quantiles(np.zeros((2, 2)), [0.5])
    with pytest.raises(ValueError, match="empty"):
        stats.quantiles([], [0.5])
    with pytest.raises(ValueError, match="data has 2 masked values"):
        stats.quantiles(np.ma.masked_greater([1.0, 9.0, 2.0, 9.0], 5.0), [0.5])
    assert stats.quantiles(np.ma.array([1.0, 9.0]), [1.0]) == stats.quantiles([1.0, 9.0], [1.0])
    with pytest.raises(TypeError, match=r"data\[1\] is a str"):
        stats.quantiles([1, "2"], [0.5])
    with pytest.raises(TypeError, match="text"):
        stats.quantiles("12", [0.5])
    with pytest.raises(TypeError, match="is a int"):
        stats.quantiles(12, [0.5])  # type: ignore[arg-type]
    with pytest.raises(OverflowError):
        stats.quantiles([10**400], [0.5])
    with pytest.raises(ValueError, match="confidence"):
        stats.quantile_interval([1.0], 0.5, 95)
    with pytest.raises(ValueError, match="q"):
        stats.quantile_interval([1.0], 99)


def test_a_number_that_changes_its_list_does_no_harm() -> None:
    class Clears:
        def __float__(self) -> float:
            data.clear()
            return 1.0

    data: list[object] = [Clears(), 2.0, 3.0]
    assert stats.quantiles(data, [1]) == (3.0,)  # type: ignore[arg-type]
    assert data == []


# ── tests and comparisons ────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=300)
@given(
    st.one_of(st.lists(finite, min_size=1, max_size=30), st.lists(few_values, min_size=1, max_size=30)),
    st.one_of(st.lists(finite, min_size=1, max_size=30), st.lists(few_values, min_size=1, max_size=30)),
    st.sampled_from(["two-sided", "less", "greater"]),
)
def test_mann_whitney_is_scipys(x: list[float], y: list[float], alternative: str) -> None:
    if len(set(x + y)) == 1:
        assert stats.mann_whitney(x, y, alternative)[1] == 1.0
        return
    theirs = scipy_stats.mannwhitneyu(x, y, alternative=alternative)
    ours = stats.mann_whitney(x, y, alternative)
    assert ours[0] == theirs.statistic
    assert ours[1] == pytest.approx(theirs.pvalue, rel=1e-9, abs=1e-14)


def test_mann_whitney_counts_the_two_zeros_as_one_value() -> None:
    assert stats.mann_whitney([-0.0] * 10, [0.0] * 10) == (50.0, 1.0)


@pytest.mark.parametrize("sizes", [(3, 2000), (8, 500), (9, 5), (5000, 5000)])
def test_mann_whitney_sizes(sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(11)
    x, y = rng.normal(size=sizes[0]), rng.normal(0.05, size=sizes[1])
    for alternative in ("two-sided", "less", "greater"):
        theirs = scipy_stats.mannwhitneyu(x, y, alternative=alternative)
        ours = stats.mann_whitney(x, y, alternative)
        assert ours[0] == theirs.statistic
        assert ours[1] == pytest.approx(theirs.pvalue, rel=1e-9)


def test_compare_finds_what_is_there_and_not_what_is_not() -> None:
    rng = random.Random(1)

    def runs(level: float, noise: float = 0.05, n: int = 10) -> list[float]:
        return [level * math.exp(rng.gauss(0, noise)) for _ in range(n)]

    verdicts = {factor: [stats.compare(runs(100), runs(100 * factor)).verdict for _ in range(300)]
                for factor in (1.0, 1.1, 1 / 1.1)}  # fmt: skip
    assert sum(v in ("regressed", "improved") for v in verdicts[1.0]) <= 9  # alpha is 1 %
    assert verdicts[1.0].count("same") > 200
    assert verdicts[1.1].count("regressed") > 200
    assert verdicts[1.1].count("improved") == 0
    assert verdicts[1 / 1.1].count("improved") > 200


def test_compare_of_samples_takes_their_medians() -> None:
    base, new = [[1.0, 2.0, 30.0, 4.0]] * 2 + [[3.0]], [np.array([3.0]), 3.1, 2.9]
    assert stats.compare(base, new)[1:] == pytest.approx(stats.compare([3.0, 3.0, 3.0], [3.0, 3.1, 2.9])[1:])


def test_compare_matches_welch() -> None:
    base, new = [10.0, 11.0, 9.5, 10.4], [12.0, 12.5, 11.4]
    ours = stats.compare(base, new)
    theirs = scipy_stats.ttest_ind(np.log(new), np.log(base), equal_var=False)
    bounds = theirs.confidence_interval(0.99)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-9)
    assert (ours.low, ours.high) == pytest.approx((math.exp(bounds.low), math.exp(bounds.high)), rel=1e-9)
    assert ours.smallest_visible > 0.03


def test_compare_says_inconclusive_and_handles_points() -> None:
    assert stats.compare([10.0], [20.0]) == ("inconclusive", pytest.approx(2.0), 0.0, math.inf, 1.0, math.inf)
    assert stats.compare([10.0, 14.0], [10.0, 14.5]).verdict == "inconclusive"
    assert stats.compare([7.0, 7.0], [7.0, 7.0]) == ("same", 1.0, 1.0, 1.0, 1.0, 0.03)
    assert stats.compare([7.0, 7.0], [8.0, 8.0]).verdict == "regressed"
    assert stats.compare([7.0, 7.0], [8.0, 8.0], better="higher").verdict == "improved"
    assert stats.compare([100.0, 100.0], [102.0, 102.0]).verdict == "same"  # real, and less than 3 %
    with pytest.raises(ValueError, match=r"new_runs\[1\] is 0"):
        stats.compare([1.0], [1.0, 0.0])
    with pytest.raises(ValueError, match=r"baseline_runs\[0\].*\[1\] is nan"):
        stats.compare([[1.0, math.nan]], [1.0])
    with pytest.raises(ValueError, match="empty"):
        stats.compare([], [1.0])


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm(p_values: list[float]) -> None:
    ours = stats.holm(p_values)
    for alpha in (0.01, 0.05, 0.3):
        rejected = set()
        for position, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
            if p_values[index] * (len(p_values) - position) > alpha:
                break
            rejected.add(index)
        assert {i for i, p in enumerate(ours) if p <= alpha} == rejected


# ── series ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=200)
@given(
    st.integers(6, 60).flatmap(
        lambda n: st.tuples(
            st.one_of(*(st.lists(v, min_size=n, max_size=n) for v in (finite, st.integers(-3, 3)))),
            st.one_of(st.none(), st.lists(st.integers(0, 9), min_size=n, max_size=n)),
        )
    )
)
def test_trend_is_theil_sens(case: tuple[list[float], list[float] | None]) -> None:
    y, t = case
    if t is not None and len(set(t)) < 2:
        with pytest.raises(ValueError, match="all t are equal"):
            stats.trend(y, t)
        return
    times = range(len(y)) if t is None else t
    pairs = sorted(
        ((y[j] - y[i]) / (times[j] - times[i]), i, j)
        for i in range(len(y)) for j in range(len(y)) if times[i] < times[j]
    )  # fmt: skip
    slopes = [slope for slope, _, _ in pairs]
    ours = stats.trend(y, t)
    assert ours.slope == pytest.approx(float(np.median(slopes)), rel=1e-12, abs=1e-300)
    assert ours.intercept == pytest.approx(float(np.median(y) - ours.slope * np.median(times)), rel=1e-9, abs=1e-6)
    spread = scipy_stats.norm.ppf(0.975) * math.sqrt(_kendall_variance(y, times))
    low, high = round((len(slopes) - spread) / 2), round((len(slopes) + spread) / 2) + 1
    assert ours.low == (slopes[low - 1] if low >= 1 else -math.inf)
    assert ours.high == (slopes[high - 1] if high <= len(slopes) else math.inf)
    if t is None and low >= 1 and high <= len(slopes):  # with ties on both sides scipy leaves out two terms
        theirs = scipy_stats.theilslopes(y, t, alpha=0.95)
        assert (ours.low, ours.high) == pytest.approx((theirs.low_slope, theirs.high_slope), rel=1e-12, abs=1e-300)


def _kendall_variance(y: list[float], t: list[float]) -> float:
    n = len(y)
    (a1, a2, a3), (b1, b2, b3) = (
        (sum(k * (k - 1) * (2 * k + 5) for k in counts), sum(k * (k - 1) * (k - 2) for k in counts),
         sum(k * (k - 1) for k in counts))
        for counts in (np.unique(y, return_counts=True)[1].tolist(), np.unique(t, return_counts=True)[1].tolist())
    )  # fmt: skip
    once = (n * (n - 1) * (2 * n + 5) - a1 - b1) / 18
    return once + a2 * b2 / (9 * n * (n - 1) * (n - 2)) + a3 * b3 / (2 * n * (n - 1))


@pytest.mark.parametrize("kind", ["noise", "steep", "integers", "constant", "steps", "same_times", "thirds"])
def test_trend_of_many_points_is_the_same_as_from_all_pairs(kind: str) -> None:
    """Above 1,448 points the slopes are selected, not stored; ties and shared times included."""
    n, rng = 1800, np.random.default_rng(5)
    t = np.arange(n) / 7.0
    if kind in ("thirds", "same_times"):
        t = np.floor(np.arange(n) / 3.0)
    y = {
        "noise": rng.normal(size=n), "steep": 1e6 * t + rng.normal(size=n), "integers": rng.integers(0, 9, n),
        "constant": np.full(n, 4.0), "steps": np.floor(np.arange(n) / 600.0), "same_times": rng.normal(size=n),
        "thirds": rng.integers(0, 2, n),
    }[kind]  # fmt: skip
    theirs = scipy_stats.theilslopes(y, t)
    ours = stats.trend(y, t)
    assert (ours.slope, ours.low, ours.high) == pytest.approx(
        (theirs.slope, theirs.low_slope, theirs.high_slope), rel=1e-9, abs=1e-15
    )


def test_trend_of_dependent_points_is_wider() -> None:
    y = np.random.default_rng(2).normal(size=200)
    plain, wide = stats.trend(y), stats.trend(y, n_effective=50)
    assert wide.high - wide.low == pytest.approx(2 * (plain.high - plain.low), rel=0.25)
    assert wide.slope == plain.slope


def test_trend_of_few_points_is_open() -> None:
    assert stats.trend([1.0, 2.0, 4.0]) == (1.5, 0.5, -math.inf, math.inf)
    with pytest.raises(ValueError, match="one point"):
        stats.trend([1.0])
    with pytest.raises(ValueError, match="y has 2 values and t has 3"):
        stats.trend([1.0, 2.0], [1, 2, 3])


def test_effective_size() -> None:
    rng = np.random.default_rng(4)
    white = rng.normal(size=4000)
    assert stats.effective_size(white) > 3000
    for rho in (0.5, 0.9):
        series = np.zeros(20_000)
        for i, shock in enumerate(rng.normal(size=20_000)):
            series[i] = rho * series[i - 1] + shock
        assert stats.effective_size(series) == pytest.approx(20_000 * (1 - rho) / (1 + rho), rel=0.25)
    assert stats.effective_size(np.repeat(rng.normal(size=20_000), 10)) == pytest.approx(20_000, rel=0.2)  # averaged
    assert stats.effective_size([5.0] * 100) == 100
    assert stats.effective_size(range(1000)) < 10
    assert stats.effective_size([1.0]) == 1


def test_block_interval_covers_where_the_naive_one_does_not() -> None:
    rng = np.random.default_rng(9)
    blocks = naive = 0
    for _ in range(300):
        level = np.repeat(rng.normal(size=60), 20)  # 20 samples share each level
        data = 5 + level + 0.1 * rng.normal(size=1200)
        result = stats.block_interval(data.reshape(30, 40).sum(axis=1), [40.0] * 30, variance=float(data.var()))
        blocks += result.low <= 5 <= result.high
        _, low, high = stats.mean_interval(data)
        naive += low <= 5 <= high
        assert result.n_effective < 300
    assert blocks > 0.9 * 300
    assert naive < 0.6 * 300  # the control: the test can tell the two apart


def test_block_share_interval() -> None:
    even = stats.block_share_interval([1.0] * 20, [10.0] * 20)
    assert even.n_effective == 200
    assert even[:3] == pytest.approx(stats.share_interval(20, 200))
    clustered = stats.block_share_interval([10.0, 10.0] + [0.0] * 18, [10.0] * 20)
    assert clustered.n_effective < 60
    assert clustered.high > even.high
    assert stats.block_share_interval([0.0] * 5, [10.0] * 5).high == pytest.approx(0.0582, abs=1e-4)
    with pytest.raises(ValueError, match="block 1"):
        stats.block_share_interval([0.0, 3.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="no block has a sample"):
        stats.block_share_interval([0.0], [0.0])


def _energy(left: list[float], right: list[float]) -> float:
    def mean(a: list[float], b: list[float]) -> float:
        return sum(abs(x - y) for x in a for y in b) / (len(a) * len(b))

    def within(a: list[float]) -> float:
        return sum(abs(x - y) for i, x in enumerate(a) for y in a[:i]) * 2 / (len(a) * (len(a) - 1))

    m, k = len(left), len(right)
    return m * k / (m + k) * (2 * mean(left, right) - within(left) - within(right))


@given(st.lists(st.one_of(finite, few_values), min_size=6, max_size=16))
def test_the_first_cut_has_the_largest_energy(series: list[float]) -> None:
    """At an alpha that half the cuts pass: those that stand contain the one that a direct sum finds."""
    if int(abs(series[0])) % 2:
        series = sorted(series)
    cuts = range(3, len(series) - 2)
    energies = {cut: _energy(series[:cut], series[cut:]) for cut in cuts}
    best = max(energies.values())
    found = stats.change_points(series, 3, alpha=0.5, permutations=99)
    scale = max(1.0, *map(abs, series))
    if found:
        assert any(energies[cut] >= best - 1e-9 * scale for cut in found if cut in energies)
    elif series == sorted(series):  # no shuffle has a larger one
        assert best <= 1e-6 * scale


def test_change_points_finds_steps_and_leaves_noise_alone() -> None:
    rng = np.random.default_rng(12)
    series = np.concatenate([rng.normal(level, 1, 30) for level in (10, 14, 14, 9)])
    found = stats.change_points(series)
    assert len(found) == 2
    assert abs(found[0] - 30) <= 2
    assert abs(found[1] - 90) <= 2
    assert found == stats.change_points(series)
    alarms = sum(bool(stats.change_points(rng.normal(size=40))) for _ in range(100))
    assert alarms <= 5
    assert stats.change_points([3.0] * 50) == []
    assert stats.change_points([1.0, 2.0]) == []
    with pytest.raises(ValueError, match="min_segment"):
        stats.change_points(series, 1)


def test_a_bootstrap_of_huge_values_is_no_point() -> None:
    found = stats.bootstrap_mean([1e200, -1e200, 1e200], resamples=500)
    assert found.low < found.estimate < found.high
    with pytest.raises(OverflowError, match="the sum of data"):
        stats.bootstrap_mean([1e308, -1e308, 1e308], resamples=500)


def test_the_median_of_few_values_has_open_ends() -> None:
    histogram = Histogram()
    histogram.record_many([3.0, 4.0, 5.0])
    assert histogram_median(histogram) == (pytest.approx(4.0, rel=0.004), 0.0, math.inf)
    histogram.record_many([4.0] * 97)
    assert histogram_median(histogram) == pytest.approx((4.0, 4.0, 4.0), rel=0.004)
    even = Histogram()
    even.record_many([float(value) for value in range(1, 401)])
    tenth = histogram_quantile(even, 0.1)
    assert tenth.estimate == pytest.approx(40, rel=0.01)
    assert 25 < tenth.low < tenth.estimate < tenth.high < 55
