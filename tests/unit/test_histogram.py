"""Histogram against sorted lists, fsum and the statistics module."""

from __future__ import annotations

import array
import base64
import copy
import ctypes
import inspect
import math
import pickle
import random
import statistics
import sys
import zlib
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from perfsuite import Histogram

POSITIVE = st.floats(min_value=0.0, allow_nan=False, allow_infinity=False)
LATENCIES = st.floats(min_value=1e-6, max_value=1e6)
ANYTHING = st.floats()


def nearest_rank(values: list[float], q: Fraction) -> float:
    """The value of rank ceil(q n), by exact arithmetic."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


def filled(values: list[float] | np.ndarray, precision: int = 7) -> Histogram:
    histogram = Histogram(precision)
    for value in values:
        histogram.record(value)
    return histogram


class TestQuantiles:
    @settings(deadline=None)
    @given(st.lists(POSITIVE, min_size=1, max_size=300), st.integers(1, 12), st.integers(0, 1000))
    def test_within_half_a_bucket_of_the_nearest_rank(self, values: list[float], precision: int, mille: int) -> None:
        got = filled(values, precision).quantile(mille / 1000)
        true = nearest_rank(values, Fraction(mille, 1000))
        assert abs(got - true) <= 2.0 ** -(precision + 1) * true
        assert min(values) <= got <= max(values)

    def test_a_product_whole_but_for_rounding(self) -> None:
        histogram = filled([float(i) for i in range(1, 101)], 12)
        assert 0.07 * 100 > 7
        assert histogram.quantile(0.07) == pytest.approx(7, rel=2e-4)
        assert histogram.quantile(0.0701) == pytest.approx(8, rel=2e-4)

    def test_the_midpoint_of_the_bucket(self) -> None:
        histogram = filled([90.0, 100.1, 100.2, 100.3, 110.0])
        low, high, count = histogram.buckets()[1]
        assert count == 3
        assert histogram.quantile(0.5) == (low + high) / 2

    def test_the_ends_are_exact_and_clamp(self) -> None:
        histogram = filled([100.001, 100.002])
        assert histogram.quantiles([0, 1]) == [100.001, 100.002]
        assert histogram.quantile(0.3) == 100.002  # the midpoint, 100.25, is above the maximum

    def test_nothing_recorded_is_nan(self) -> None:
        histogram = Histogram()
        assert math.isnan(histogram.quantile(0.5))
        assert all(map(math.isnan, [histogram.mean, histogram.min, histogram.max, histogram.stdev, histogram.cdf(1)]))
        assert histogram.sum == 0
        assert histogram.count == 0
        assert histogram.buckets() == histogram.edges() == []

    @pytest.mark.parametrize("q", [-0.001, 1.001, math.nan, math.inf, 99])
    def test_outside_0_to_1(self, q: float) -> None:
        with pytest.raises(ValueError, match="0 to 1, got"):
            filled([1.0]).quantile(q)
        with pytest.raises(ValueError, match="0 to 1, got"):
            Histogram().quantiles([0.5, q])

    @settings(deadline=None)
    @given(st.lists(LATENCIES, min_size=1), LATENCIES)
    def test_cdf_counts_whole_buckets(self, values: list[float], x: float) -> None:
        histogram = filled(values)
        share = histogram.cdf(x)
        assert sum(v <= x for v in values) <= round(share * len(values)) <= sum(v <= x * 1.008 for v in values)
        assert histogram.cdf(max(values)) == histogram.cdf(math.inf) == 1
        assert histogram.cdf(-1) == histogram.cdf(0) == histogram.cdf(min(values) * 0.99) == 0

    @settings(deadline=None)
    @given(st.lists(POSITIVE, min_size=1), st.integers(0, 1000))
    def test_cdf_of_a_quantile(self, values: list[float], mille: int) -> None:
        histogram = filled(values)
        assert histogram.cdf(histogram.quantile(mille / 1000)) >= mille / 1000 - 1e-12

    def test_questions_between_records(self) -> None:
        rng = random.Random(1)
        histogram, values = Histogram(), []
        for i in range(2000):
            values.append(rng.lognormvariate(0, 3) if i % 7 else 0.0)
            histogram.record(values[-1])
            if rng.random() < 0.2:
                assert histogram.quantile(0.9) == pytest.approx(nearest_rank(values, Fraction(9, 10)), rel=0.0039)
                assert histogram.max == max(values)
                assert histogram.count == len(values)


class TestMoments:
    @settings(deadline=None)
    @given(st.lists(st.floats(min_value=0, max_value=1e12), min_size=2, max_size=600))
    def test_like_the_statistics_module(self, values: list[float]) -> None:
        for histogram in (filled(values), Histogram()):
            histogram.record_many(values) if not histogram.count else None
            assert histogram.count == len(values)
            assert histogram.min == min(values)
            assert histogram.max == max(values)
            assert histogram.sum == pytest.approx(math.fsum(values), rel=1e-14)
            assert histogram.mean == pytest.approx(math.fsum(values) / len(values), rel=1e-14)
            true = statistics.stdev(map(Fraction, values))
            assert histogram.stdev == pytest.approx(float(true), rel=1e-9, abs=1e-150 + 1e-14 * max(values))

    @settings(deadline=None)
    @given(
        st.lists(st.floats(min_value=0.5, max_value=2.0), min_size=2, max_size=40),
        st.integers(min_value=-1000, max_value=1000),
        st.sampled_from([1, 7, 60]),
    )
    def test_deviations_of_any_size(self, values: list[float], exponent: int, times: int) -> None:
        values = [math.ldexp(x, exponent) for x in values] * times
        true = float(statistics.stdev(Fraction(math.ldexp(x, -exponent)) for x in values))
        one, many = filled(values), Histogram()
        many.record_many(values)
        parts = filled(values[::3]) + filled(values[1::3]) + filled(values[2::3])
        for histogram in (one, many, parts, Histogram.from_bytes(many.to_bytes())):
            assert math.ldexp(histogram.stdev, -exponent) == pytest.approx(true, rel=1e-9, abs=1e-15)

    def test_the_least_and_the_greatest_deviations(self) -> None:
        top, bottom = sys.float_info.max, 5e-324
        assert filled([top, 1.0]).stdev == pytest.approx(top / math.sqrt(2))
        assert filled([0.0, top]).stdev == pytest.approx(top / math.sqrt(2))
        assert filled([0.0, 1e-300, 2e-300]).stdev == pytest.approx(1e-300)
        assert filled([bottom, 3 * bottom, 2 * bottom]).stdev == bottom
        assert filled([bottom, top]).stdev == pytest.approx(top / math.sqrt(2))
        assert filled([top] * 5).stdev == 0.0

    def test_whole_numbers_add_up_exactly(self) -> None:
        values = [random.Random(2).randrange(1, 10_000_000) for _ in range(5000)]
        assert filled(values).sum == sum(values)

    def test_far_from_zero(self) -> None:
        values = 1e9 + np.random.default_rng(3).normal(size=200_000) * 1e-3
        expected = float(np.std(values - 1e9, ddof=1))
        many = Histogram()
        many.record_many(values)
        assert many.stdev == pytest.approx(expected, rel=1e-9)
        assert filled(values).stdev == pytest.approx(expected, rel=1e-9)
        parts = filled(values[:1234])
        parts += filled(values[1234:])
        assert parts.stdev == pytest.approx(expected, rel=1e-9)

    def test_the_first_value_is_no_yardstick(self) -> None:
        rng = np.random.default_rng(4)
        values = np.concatenate([[1e12], 5 + rng.normal(size=100_000) * 1e-6])
        two = filled(values[:1])
        two.record_many(values[1:])
        assert two.stdev == pytest.approx(float(np.std(values, ddof=1)), rel=1e-9)
        without = filled(values[1:])
        assert without.stdev == pytest.approx(float(np.std(values[1:], ddof=1)), rel=1e-7)

    def test_one_value(self) -> None:
        histogram = filled([3.5])
        assert histogram.mean == histogram.min == histogram.max == histogram.sum == 3.5
        assert math.isnan(histogram.stdev)

    def test_an_overflowing_sum(self) -> None:
        histogram = filled([sys.float_info.max] * 300)
        assert histogram.sum == math.inf
        assert histogram.mean == pytest.approx(sys.float_info.max)


class TestRecording:
    @settings(deadline=None)
    @given(st.lists(ANYTHING, max_size=400))
    def test_what_has_no_bucket_is_counted_by_kind(self, values: list[float]) -> None:
        good = [v for v in values if 0 <= v < math.inf]
        expected = {"nan": sum(map(math.isnan, values)), "inf": sum(map(math.isinf, values)),
                    "negative": sum(-math.inf < v < 0 for v in values)}  # fmt: skip
        one, many, buffer = filled(values), Histogram(), Histogram()
        many.record_many(values)
        buffer.record_many(array.array("d", values * 8))
        for histogram in (one, many):
            assert histogram.rejected == expected
            assert histogram.count == len(good)
            assert histogram.zeros == good.count(0)
            assert histogram == filled(good) or sum(expected.values())
        assert one == many
        assert buffer.count == 8 * len(good)

    @pytest.mark.parametrize("value", [3, True, np.float64(2.5), np.float32(2.5), np.int64(7), Fraction(1, 3)])
    def test_any_number(self, value: float) -> None:
        histogram = Histogram()
        histogram.record(value)
        assert histogram.sum == float(value)

    @pytest.mark.parametrize("value", ["1", None, [], 1j, b"1"])
    def test_no_number(self, value: object) -> None:
        histogram = Histogram()
        with pytest.raises(TypeError):
            histogram.record(value)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            histogram.record_many([1.0, value])  # type: ignore[list-item]
        assert histogram.count == 0

    def test_a_number_that_raises_or_records(self) -> None:
        histogram = Histogram()

        class Raises:
            def __float__(self) -> float:
                raise LookupError("no")

        class Records:
            def __float__(self) -> float:
                histogram.record(1e30)
                return 2.0

        with pytest.raises(LookupError):
            histogram.record(Raises())
        with pytest.raises(LookupError):
            histogram.record_many([1.0] * 5000 + [Raises()])
        assert histogram.count == 0
        histogram.record(Records())
        histogram.record_many([Records() for _ in range(3000)])
        assert histogram.count == 6002
        with pytest.raises(OverflowError):
            histogram.record(10**400)
        with pytest.raises(OverflowError, match="record_many: item 2 is too large for a float"):
            histogram.record_many([1, 2, 10**400])
        assert histogram.count == 6002

    def test_weights(self) -> None:
        histogram = Histogram()
        histogram.record_n(2.0, 3)
        histogram.record_n(5.0, 0)
        histogram.record_n(-1.0, 4)
        assert (histogram.count, histogram.sum, histogram.rejected["negative"]) == (3, 6.0, 4)
        with pytest.raises(ValueError, match="0 or more, got -1"):
            histogram.record_n(1.0, -1)
        histogram.record_n(1.0, 2**62)
        with pytest.raises(OverflowError):
            histogram.record_n(1.0, 2**62)
        with pytest.raises(OverflowError):
            histogram.merge(histogram)
        assert histogram.count == 2**62 + 3
        with pytest.raises(TypeError):
            histogram.record_n(1.0)  # type: ignore[call-arg]

    @pytest.mark.parametrize("precision", [0, 13, -1, 2**31 - 1])
    def test_precision_out_of_range(self, precision: int) -> None:
        with pytest.raises(ValueError, match=f"precision must be 1 to 12, got {precision}"):
            Histogram(precision)

    def test_clear(self) -> None:
        histogram = filled([1.0, 0.0, -1.0])
        histogram.clear()
        assert histogram == Histogram()


DTYPES = ["g", *(order + kind for order in "<>" for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4",
                                                             "u8", "?"))]  # fmt: skip


class TestManyLikeOneByOne:
    """record_many takes blocks; whatever is in them and wherever, it is what record would have made of it."""

    BAD = (0.0, -0.0, 5e-324, 1e-310, -1.0, math.nan, math.inf, -math.inf, sys.float_info.max, sys.float_info.min)

    @settings(deadline=None, max_examples=40)
    @given(st.data())
    def test_any_mixture(self, data: st.DataObject) -> None:
        seed = data.draw(st.integers(0, 2**32))
        size = data.draw(st.sampled_from([2049, 2560, 5000, 9001]))
        spread = data.draw(st.sampled_from([0.0, 0.1, 1.0, 30.0]))
        values = np.random.default_rng(seed).lognormal(0, spread, size)
        for at, bad in data.draw(st.lists(st.tuples(st.integers(0, size - 1), st.sampled_from(self.BAD)), max_size=30)):
            values[at] = bad
        many, one = Histogram(), filled(values)
        many.record_many(values)
        assert many == one
        assert many.rejected == one.rejected
        assert (many.count, many.zeros) == (one.count, one.zeros)
        good = [x for x in values.tolist() if 0 <= x < math.inf]
        assert many.count == len(good)
        assert many.buckets() == one.buckets()
        if max(good) < 1e300:
            assert many.sum == pytest.approx(math.fsum(good), rel=1e-14)
        assert many.stdev == pytest.approx(one.stdev, rel=1e-9)

    @pytest.mark.parametrize("size", [7, 3000, 50_000])
    def test_what_is_masked_is_left_out(self, size: int) -> None:
        values = np.random.default_rng(size).lognormal(0, 1, size)
        values[::3] = 1e9
        masked, plain = Histogram(), filled(values[values < 1e9])
        masked.record_many(np.ma.masked_greater(values, 1e8))
        assert masked == plain
        grid = Histogram()
        grid.record_many(np.ma.masked_greater(np.stack([values, values]), 1e8))
        assert grid == plain + plain
        nothing = Histogram()
        nothing.record_many(np.ma.masked_all(size))
        assert nothing.count == 0
        whole = Histogram()
        whole.record_many(np.ma.array(values))
        assert whole == filled(values)

    def test_unaligned_memory(self) -> None:
        values = np.random.default_rng(1).lognormal(0, 1, 40_000)
        memory = np.zeros(values.nbytes + 8, dtype=np.uint8)
        shifted = memory[3 : 3 + values.nbytes].view(np.float64)
        shifted[:] = values
        many = Histogram()
        many.record_many(shifted)
        assert many == filled(values)

    def test_only_what_was_recorded_widens_the_window(self) -> None:
        """The tables in which blocks are counted are wider than what they hold."""
        values = np.full(100_000, 3.0)
        values[50_000:] = 17.0
        many = Histogram()
        many.record_many(values)
        assert len(memoryview(many)) <= 8 * 128
        assert many.buckets() == filled(values).buckets()


class TestBuffers:
    @pytest.mark.parametrize("n", [0, 1, 100, 3000, 70_000])
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_every_type_and_byte_order(self, dtype: str, n: int) -> None:
        values = np.random.default_rng(5).integers(0, 120, n)
        data = values.astype(dtype)
        histogram = Histogram()
        histogram.record_many(data)
        assert histogram == filled(data.astype("f8"))
        assert histogram.sum == float(data.astype("f8").sum())

    @pytest.mark.parametrize("dtype", ["f8", "f4", "i8", ">f8"])
    def test_every_shape_and_stride(self, dtype: str) -> None:
        base = (np.random.default_rng(6).random((40, 30, 20)) * 1000).astype(dtype)
        views = [base, base[::2], base[:, ::-3], base[..., 5], base.T, base[::-1, 4:9, ::7], base[3, 2, 1], base[:0],
                 np.asfortranarray(base), np.broadcast_to(base[0, 0], (50, 20)), base[:, :, :1]]  # fmt: skip
        for view in views:
            histogram = Histogram()
            histogram.record_many(view)
            expected = filled(view.astype("f8").ravel())
            assert histogram == expected
            assert histogram.sum == pytest.approx(expected.sum, rel=1e-14)

    def test_indirect_rows(self) -> None:
        """PIL-style suboffsets, of which ctypes and numpy make none: rows reached through pointers."""
        testbuffer = pytest.importorskip("_testbuffer", reason="this Python has no _testbuffer module")
        array_nd = testbuffer.ndarray(
            [1.5, 2.5, 3.5, 4.5, 5.5, 6.5], shape=[3, 2], format="d", flags=testbuffer.ND_PIL
        )  # fmt: skip
        histogram = Histogram()
        histogram.record_many(array_nd)
        assert histogram == filled([1.5, 2.5, 3.5, 4.5, 5.5, 6.5])

    def test_other_buffers(self) -> None:
        for data in (array.array("l", [1, 2, 3]), (ctypes.c_double * 3)(1, 2, 3), bytes([1, 2, 3]),
                     memoryview(bytearray([1, 2, 3])), np.array([1, 2, 3], object), (1, 2, 3)):  # fmt: skip
            histogram = Histogram()
            histogram.record_many(data)
            assert histogram == filled([1.0, 2.0, 3.0])
        histogram.record_many(memoryview(histogram))  # its own counts, most of them 0
        assert histogram.count == 3 + len(memoryview(histogram))

    @pytest.mark.parametrize("data", [np.zeros(3, "c16"), np.zeros(3, "S3"), np.zeros(3, [("a", "f8"), ("b", "i4")]),
                                      memoryview(b"abc").cast("c")])  # fmt: skip
    def test_formats_that_are_no_real_numbers(self, data: object) -> None:
        histogram = Histogram()
        with pytest.raises(TypeError, match=r"cannot read items of format .*: give it integers or floats"):
            histogram.record_many(data)  # type: ignore[arg-type]
        assert histogram.count == 0

    def test_no_iterable(self) -> None:
        with pytest.raises(TypeError, match="needs a buffer or an iterable of numbers, not 'float'"):
            Histogram().record_many(1.5)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="item 0 must be a number, not 'str'"):
            Histogram().record_many("1.5")  # type: ignore[arg-type]

    def test_an_iterator_that_raises_leaves_it_whole(self) -> None:
        def numbers() -> object:
            yield from range(5000)
            raise LookupError("gone")

        histogram = filled([1.0])
        with pytest.raises(LookupError):
            histogram.record_many(numbers())  # type: ignore[arg-type]
        assert histogram == filled([1.0])

    @pytest.mark.parametrize("span", [1e-3, 3.0, 300.0])
    def test_many_is_one_by_one(self, span: float) -> None:
        values = np.exp(np.clip(np.random.default_rng(7).normal(size=50_000) * span, -740, 700))
        values[::1000] = math.nan
        for precision in (1, 7, 12):
            histogram = Histogram(precision)
            histogram.record_many(values)
            assert histogram == filled(values, precision)


class TestMerging:
    @settings(deadline=None)
    @given(st.lists(st.lists(ANYTHING, max_size=40), max_size=5))
    def test_exact(self, parts: list[list[float]]) -> None:
        total = Histogram()
        for part in parts:
            total.merge(filled(part))
        whole = filled([value for part in parts for value in part])
        assert total == whole
        assert total.buckets() == whole.buckets()
        if whole.count > 1 and math.isfinite(whole.stdev):
            assert total.stdev == pytest.approx(whole.stdev, rel=1e-9, abs=1e-150 + 1e-13 * whole.max)

    def test_operators(self) -> None:
        a, b = filled([1.0, 2.0]), filled([3.0])
        assert a + b == filled([1.0, 2.0, 3.0])
        assert a == filled([1.0, 2.0])
        same = a
        a += b
        assert same is a
        assert a.count == 3
        assert a + a == filled([1.0, 2.0, 3.0] * 2)
        assert a != b
        assert a != 3
        with pytest.raises(TypeError):
            a + 3  # type: ignore[operator]
        with pytest.raises(TypeError):
            a += [1]  # type: ignore[operator]
        with pytest.raises(TypeError):
            a < b  # type: ignore[operator]  # noqa: B015
        with pytest.raises(TypeError, match="unhashable"):
            hash(a)

    def test_different_precision_names_both(self) -> None:
        for join in (Histogram.merge, Histogram.__add__, Histogram.__iadd__):
            with pytest.raises(ValueError, match="precision 10 into one of precision 7"):
                join(filled([1.0]), filled([1.0], 10))
        assert filled([1.0]) != filled([1.0], 10)
        with pytest.raises(TypeError, match="other must be a Histogram, not 'int'"):
            Histogram().merge(3)  # type: ignore[arg-type]


class TestCountsView:
    def test_counts_and_edges(self) -> None:
        values = np.random.default_rng(8).lognormal(size=5000)
        histogram = filled(values)
        counts, edges = np.asarray(histogram), np.array(histogram.edges())
        assert counts.dtype == np.uint64
        assert (counts == np.histogram(values, edges)[0]).all()
        assert not counts.flags.writeable
        assert np.shares_memory(counts, np.frombuffer(histogram, np.uint64))
        assert [(low, high, int(n)) for low, high, n in zip(edges[:-1], edges[1:], counts, strict=True) if n] == (
            histogram.buckets()
        )

    def test_live_until_it_grows(self) -> None:
        histogram = filled([1.0])
        view = memoryview(histogram)
        assert (view.format, view.readonly, view.ndim) == ("Q", True, 1)
        for i in range(1000):
            histogram.record(1.0)
            assert sum(view) == i + 2
        histogram.record_many([1.0] * 5000)
        assert sum(view) == 6001
        histogram.record_many(np.full(100_000, 1e9))
        histogram.record(1.0)
        assert sum(view) == 6001
        assert sum(memoryview(histogram)) == 106_002
        del histogram
        assert sum(view) == 6001
        view.release()

    def test_read_only_and_empty(self) -> None:
        with pytest.raises(TypeError, match="not writable"):
            ctypes.c_char.from_buffer(filled([1.0]))
        with pytest.raises(TypeError, match="read-only"):
            memoryview(filled([1.0]))[0] = 1
        empty = memoryview(Histogram())
        assert empty.nbytes == 0
        assert empty.tolist() == []
        assert np.asarray(Histogram()).size == 0

    def test_views_come_and_go(self) -> None:
        histogram = filled([1.0])
        first, second = memoryview(histogram), memoryview(histogram)
        first.release()
        histogram.record(1.0)
        assert second[0] == 2
        second.release()
        histogram.record(1.0)
        assert memoryview(histogram)[0] == 3


class TestBytes:
    @settings(deadline=None)
    @given(st.lists(ANYTHING, max_size=300), st.integers(1, 12))
    def test_there_and_back(self, values: list[float], precision: int) -> None:
        histogram = filled(values, precision)
        back = Histogram.from_bytes(histogram.to_bytes())
        assert back == histogram
        assert back.buckets() == histogram.buckets()
        for name in ("sum", "mean", "stdev"):
            assert repr(getattr(back, name)) == repr(getattr(histogram, name))
        assert back.to_bytes() == histogram.to_bytes()

    def test_compact(self) -> None:
        histogram = filled(np.random.default_rng(9).lognormal(size=10_000))
        assert len(histogram.to_bytes()) < 2 * len(histogram.buckets()) + 200

    def test_damage_is_named(self) -> None:
        good = filled([1.0, 2.0, 0.0]).to_bytes()
        with pytest.raises(ValueError, match="checksum"):
            Histogram.from_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        with pytest.raises(ValueError, match="newer version"):
            Histogram.from_bytes(good[:4] + b"\x02" + good[5:])
        for bad in (b"", b"PFSH", good[:-20], good + b"\0", b"X" * 100):
            with pytest.raises(ValueError, match="encoded histogram"):
                Histogram.from_bytes(bad)
        with pytest.raises(TypeError):
            Histogram.from_bytes("text")  # type: ignore[arg-type]

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_pickle(self, protocol: int) -> None:
        histogram = filled([1.0, 0.0, math.nan])
        assert pickle.loads(pickle.dumps(histogram, protocol)) == histogram

    def test_copies_are_independent(self) -> None:
        histogram = filled([1.0])
        for other in (copy.copy(histogram), copy.deepcopy(histogram), histogram.copy()):
            assert other == histogram
            other.record(1.0)
            assert other != histogram


class Named(Histogram):
    """A subclass with an attribute of its own."""

    def __init__(self, precision: int = 7) -> None:
        self.name = "named"


class TestSubclass:
    def test_keeps_its_class_and_attributes(self) -> None:
        named = Named()
        named.record(1.0)
        for other in (pickle.loads(pickle.dumps(named)), copy.copy(named), copy.deepcopy(named)):
            assert type(other) is Named
            assert other.name == "named"
            assert other == named
        assert type(Named.from_bytes(named.to_bytes())) is Named
        assert type(named + named) is type(named.copy()) is Histogram
        assert repr(named).startswith("<Named precision=7 count=1 min=1")


def hdr_values(histogram: object) -> list[tuple[int, int]]:
    return [(item.value_iterated_to, item.count_at_value_iterated_to)
            for item in histogram.get_recorded_iterator()]  # type: ignore[attr-defined]  # fmt: skip


class TestHdr:
    """Both ways against the published Python decoder and encoder (hdrhistogram)."""

    @settings(deadline=None)
    @given(st.lists(LATENCIES, min_size=1, max_size=200), st.integers(1, 12))
    def test_the_published_decoder_reads_it(self, values: list[float], precision: int) -> None:
        hdrh = pytest.importorskip("hdrh.histogram", reason='needs hdrhistogram: pip install "perfsuite[test]"')
        histogram = filled(values, precision)
        decoded = hdrh.HdrHistogram.decode(histogram.to_hdr())
        assert decoded.get_total_count() == len(values)
        theirs = [value for value, count in hdr_values(decoded) for _ in range(count)]
        for rank, value in enumerate(theirs):  # the highest integer of a slot 0.1 % wide
            ours = histogram.quantile((rank + 0.5) / len(values))
            assert value / 1000 == pytest.approx(ours, rel=0.0011, abs=0.00051)

    @settings(deadline=None)
    @given(st.lists(st.integers(1, 10**9), min_size=1, max_size=200), st.sampled_from([1, 2, 3, 4]))
    def test_the_published_encoder_is_read(self, values: list[int], digits: int) -> None:
        hdrh = pytest.importorskip("hdrh.histogram", reason='needs hdrhistogram: pip install "perfsuite[test]"')
        theirs = hdrh.HdrHistogram(1, 10**10, digits)
        for value in values:
            theirs.record_value(value)
        text = theirs.encode()
        histogram = Histogram.from_hdr(text, scale=1, precision=12)
        assert histogram.count == len(values)
        error = 10.0**-digits + 2.0**-13
        for mille in (1, 250, 500, 900, 990):
            true = nearest_rank([float(v) for v in values], Fraction(mille, 1000))
            assert histogram.quantile(mille / 1000) == pytest.approx(true, rel=error, abs=0.51)
        assert Histogram.from_hdr(text.decode() if isinstance(text, bytes) else text, 1, 12) == histogram

    @settings(deadline=None)
    @given(st.lists(LATENCIES, max_size=200))
    def test_there_and_back(self, values: list[float]) -> None:
        histogram = filled([0.0, *values])
        back = Histogram.from_hdr(f"\n {histogram.to_hdr(1e6)} ", 1e6)
        assert back.count == histogram.count
        for q in (0.1, 0.5, 0.99):
            assert back.quantile(q) == pytest.approx(histogram.quantile(q), rel=0.009, abs=1e-6)

    def test_scale(self) -> None:
        hdrh = pytest.importorskip("hdrh.histogram", reason='needs hdrhistogram: pip install "perfsuite[test]"')
        decoded = hdrh.HdrHistogram.decode(filled([0.25, 0.5], 12).to_hdr(scale=100))
        assert [value for value, _ in hdr_values(decoded)] == [25, 50]
        for scale in (0, -1, math.nan, math.inf):
            with pytest.raises(ValueError, match="scale must be"):
                Histogram().to_hdr(scale)
            with pytest.raises(ValueError, match="scale must be"):
                Histogram.from_hdr("", scale)
        with pytest.raises(OverflowError, match="largest value times scale"):
            filled([1e17]).to_hdr(1000)

    def test_what_is_no_hdr_histogram(self) -> None:
        good = base64.b64decode(filled([1.0]).to_hdr())
        bomb = zlib.compress(bytes(80_000_000))
        for bad in ("", "!!", "AAAA", "é", base64.b64encode(good[:-3]), base64.b64encode(b"\0" + good[1:]),
                    base64.b64encode(good[:8] + b"\0" * (len(good) - 8)), base64.b64encode(b"\x1c\x84\x93\x14"),
                    base64.b64encode(good[:4] + len(bomb).to_bytes(4, "big") + bomb)):  # fmt: skip
            with pytest.raises(ValueError, match="from_hdr: the text is not a compressed HdrHistogram"):
                Histogram.from_hdr(bad)
        payload = zlib.compress(b"\x1c\x84\x93\x13" + b"\xff" * 60)
        text = base64.b64encode(good[:4] + len(payload).to_bytes(4, "big") + payload)
        with pytest.raises(ValueError, match="expected form"):
            Histogram.from_hdr(text)
        with pytest.raises(TypeError, match="must be str or bytes, not 'int'"):
            Histogram.from_hdr(5)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="precision must be 1 to 12"):
            Histogram.from_hdr("", precision=13)


def test_signatures() -> None:
    assert str(inspect.signature(Histogram)) == "(precision=7)"
    for name, member in vars(Histogram).items():
        if callable(member) and not name.startswith("__"):
            assert inspect.signature(member) is not None, name
    assert str(inspect.signature(Histogram.to_hdr)) == "(self, /, scale=1000)"


def test_size_is_told() -> None:
    histogram = Histogram()
    empty = sys.getsizeof(histogram)
    histogram.record(1.0)
    assert sys.getsizeof(histogram) >= empty + 128 * 8


@settings(deadline=None)
@given(st.lists(LATENCIES, min_size=1))
def test_buckets_hold_their_values(values: list[float]) -> None:
    assume(len(set(values)) > 1)
    histogram = filled(values)
    for low, high, count in histogram.buckets():
        assert count == sum(low <= v < high for v in values)
        assert high / low - 1 <= 2.0**-7
