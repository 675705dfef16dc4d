"""Operation and OperationTimer: what the monitor's hot path counts, tells of, refuses, and keeps."""

from __future__ import annotations

import gc
import inspect
import math
import time
import weakref

import pytest

from perfsuite import Histogram
from perfsuite._core import Operation, OperationTimer

Told = list[tuple[str, float, type[BaseException] | None]]


class Failed(Exception):
    pass


def test_a_run_is_recorded_and_told_from_its_length_on() -> None:
    told: Told = []
    operation = Operation("work", Histogram(), lambda *run: told.append(run), 5.0)
    assert (operation.last_ms, operation.ended_ns) == (None, None)
    operation.record(4.9)
    operation.record(5.0, Failed)
    operation.report_above_ms = 100.0
    operation.record(50.0, error=KeyboardInterrupt)
    assert told == [("work", 5.0, Failed)]
    assert (operation.failed, operation.cancelled, operation.running, operation.last_minute) == (1, 1, 0, 3)
    assert (operation.name, operation.last_ms, operation.histogram.count) == ("work", 50.0, 3)
    assert operation.ended_ns is not None
    assert abs(time.monotonic_ns() - operation.ended_ns) < 60e9


def test_every_run_is_told_while_somebody_asks_for_it() -> None:
    told: Told = []
    wanted = [True]
    operation = Operation("work", Histogram(), lambda *run: told.append(run), math.inf, lambda: wanted[0])
    operation.record(1.0)
    wanted[0] = False
    operation.record(2.0)
    assert told == [("work", 1.0, None)]


def test_what_a_callable_raises_comes_out_and_the_run_is_counted() -> None:
    def fails(*run: object) -> None:
        raise Failed

    for operation in (
        Operation("work", Histogram(), fails, 0.0),
        Operation("work", Histogram(), print, 1e9, fails),
    ):
        with pytest.raises(Failed), OperationTimer(operation):
            pass
        assert (operation.histogram.count, operation.running, operation.failed) == (1, 0, 0)


def test_a_timer_is_used_one_run_after_another() -> None:
    operation = Operation("work", Histogram())
    timer = OperationTimer(operation)
    assert timer.elapsed_ms is None
    for _ in range(3):
        with timer as entered:
            assert entered is timer
            assert operation.running == 1
    assert timer.operation is operation
    assert timer.elapsed_ms == operation.last_ms
    with pytest.raises(Failed), timer:
        raise Failed
    assert (operation.histogram.count, operation.failed) == (4, 1)


@pytest.mark.parametrize("ms", [-1.0, math.nan, math.inf])
def test_a_time_that_is_none_is_refused(ms: float) -> None:
    operation = Operation("work", Histogram())
    with pytest.raises(ValueError, match="ms must be 0 or more"):
        operation.record(ms)
    assert operation.histogram.count == operation.last_minute == 0


def test_arguments_that_make_no_sense_are_refused() -> None:
    histogram = Histogram()
    for arguments, said in (
        (("work", []), "histogram must be a Histogram"),
        (("work", histogram, 3), "report must be callable"),
        (("work", histogram, None, 1.0, 3), "always must be callable"),
        ((3, histogram), "must be str"),
    ):
        with pytest.raises(TypeError, match=said):
            Operation(*arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not NaN"):
        Operation("work", histogram, None, math.nan)
    operation = Operation("work", histogram)
    with pytest.raises(ValueError, match="not NaN"):
        operation.report_above_ms = math.nan
    with pytest.raises(AttributeError, match="cannot be deleted"):
        del operation.report_above_ms
    for wrong in (int, "Failed"):
        with pytest.raises(TypeError, match="error must be a type of exception"):
            operation.record(1.0, wrong)  # type: ignore[arg-type]
    for given in ((), (3,), (operation, 1)):
        with pytest.raises(TypeError):
            OperationTimer(*given)  # type: ignore[call-overload, arg-type]
    assert str(inspect.signature(OperationTimer)) == "(operation, /)"
    assert "report_above_ms=inf" in str(inspect.signature(Operation))


def test_cycles_are_collected() -> None:
    class Holder:
        def report(self, *run: object) -> None:
            self.run = run

    holder = Holder()
    holder.operation = Operation("work", Histogram(), holder.report, 0.0)  # type: ignore[attr-defined]
    holder.timer = OperationTimer(holder.operation)  # type: ignore[attr-defined]
    holder.timer.__enter__()  # type: ignore[attr-defined]
    gone = weakref.ref(holder)
    del holder
    gc.collect()
    assert gone() is None
