"""Sampling beside a run: bounded series, process trees, collectors that fail."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, NoReturn, cast

import psutil
import pytest

from perfsuite import process_tree
from perfsuite.collectors import HostCollector, ProcessCollector, Sampler, samplers_for
from perfsuite.collectors.base import LONGEST_SERIES, MOST_SHARE, BoundedSeries
from perfsuite.errors import UsageError

if TYPE_CHECKING:
    from perfsuite.targets.base import Target


def test_a_long_series_is_bounded_and_keeps_its_peak() -> None:
    series = BoundedSeries()
    for i in range(LONGEST_SERIES * 20):
        series.add(float(i), 1e9 if i == 9_345 else float(i % 7))
    points = series.points()
    assert len(points) <= LONGEST_SERIES * 2
    assert (9_345.0, 1e9) in points
    assert [t for t, _ in points] == sorted(t for t, _ in points)
    assert points[0][0] <= 64.0
    assert points[-1][0] >= LONGEST_SERIES * 20 - 64


def test_own_processes_are_left_out() -> None:
    child = subprocess.Popen([sys.executable, "-c", "x = bytearray(64 << 20); input()"], stdin=subprocess.PIPE)
    try:
        own: set[int] = set()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if ProcessCollector([child.pid]).memory_bytes() > 60 << 20:
                break
            time.sleep(0.05)
        with_child = ProcessCollector([os.getpid()], own).sample()["memory_bytes"]
        own.add(child.pid)
        without = ProcessCollector([os.getpid()], own).sample()["memory_bytes"]
        assert with_child - without > 50 << 20
    finally:
        assert child.stdin is not None
        child.stdin.close()
        child.wait()


def test_a_process_that_is_not_there_is_a_usage_error() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    with pytest.raises(UsageError, match=f"no process {child.pid}"):
        ProcessCollector([child.pid])


def test_a_process_that_ends_is_absent_and_samples_nothing() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    collector = ProcessCollector([child.pid])
    assert collector.absent is None
    child.communicate(b"\n")
    assert collector.absent == "the process has ended"
    assert collector.sample()["memory_bytes"] == 0.0


class Breaks:
    name = "breaks"
    absent = None
    calls = 0

    def sample(self) -> Mapping[str, float]:
        self.calls += 1
        if self.calls > 1:
            raise RuntimeError("gone")
        return {"value": 1.0}


def test_a_collector_that_raises_is_asked_no_more_and_reported() -> None:
    breaks = Breaks()
    sampler = Sampler([breaks, HostCollector()], interval_s=0.005)
    sampler.start()
    deadline = time.monotonic() + 10
    while len(sampler.series()["host.cpu_percent"]) < 5 and time.monotonic() < deadline:
        time.sleep(0.005)
    sampler.stop()
    sampler.stop()
    ((t_s, name, why),) = sampler.ended
    assert (name, why) == ("breaks", "RuntimeError: gone")
    assert t_s > 0
    assert breaks.calls == 2
    assert len(sampler.series()["breaks.value"]) == 1
    assert len(sampler.series()["host.cpu_percent"]) >= 5


def test_a_process_that_ends_under_the_sampler_is_told_and_does_not_count_as_none() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    sampler = Sampler([ProcessCollector([child.pid])], interval_s=60)
    sampler.start()
    child.communicate(b"\n")
    sampler.stop()
    assert [(name, why) for _, name, why in sampler.ended] == [("process", "the process has ended")]
    ((_, value),) = sampler.series()["process.memory_bytes"]
    assert value > 0


class Costly:
    """Takes 3 ms of a processor; writes down when it was asked and what it took."""

    name = "costly"
    absent = None

    def __init__(self) -> None:
        self.looks: list[tuple[float, float]] = []

    def sample(self) -> Mapping[str, float]:
        at, cpu = time.monotonic(), time.thread_time()
        while time.thread_time() - cpu < 0.003:
            pass
        self.looks.append((at, time.thread_time() - cpu))
        return {"value": 1.0}


def test_what_is_costly_is_looked_at_less_often() -> None:
    costly = Costly()
    sampler = Sampler([costly], interval_s=0.001)
    sampler.start()
    while len(costly.looks) < 4:
        time.sleep(0.005)
    sampler.stop()
    _, *looks, _ = costly.looks  # the first and the last are taken however soon they come
    for (at, cost), (following, _) in pairwise(looks):
        assert following - at >= cost / MOST_SHARE


def test_what_is_costly_is_looked_at_often_enough_for_a_trend() -> None:
    costly = Costly()
    sampler = Sampler([costly], interval_s=0.001, longest_s=0.01)
    sampler.start()
    while len(costly.looks) < 12:
        time.sleep(0.005)
    sampler.stop()
    _, *looks, _ = costly.looks
    paused = [following - at for (at, _), (following, _) in pairwise(looks)]
    assert min(paused) < 0.003 / MOST_SHARE  # of many pauses on a busy machine one is not drawn out


@pytest.mark.parametrize(("duration_s", "interval_s"), [(5.0, 0.25), (30.0, 0.5), (14_400.0, 1.0)])
def test_a_longer_phase_is_looked_at_less_often(duration_s: float, interval_s: float) -> None:
    (sampler,) = samplers_for(None, cast("Target", object()), duration_s)
    assert sampler.interval_s == interval_s


TREE = """
import subprocess, sys, threading, time
sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
child = "import subprocess, sys, time; p = subprocess.Popen(sys.argv[1:]); print(p.pid, flush=True); time.sleep(60)"
made = []
def beside():
    made.append(subprocess.Popen(sleep))
    time.sleep(60)
threading.Thread(target=beside, daemon=True).start()
made.append(subprocess.Popen([sys.executable, "-c", child, *sleep], stdout=subprocess.PIPE, text=True))
grandchild = int(made[-1].stdout.readline())
while len(made) < 2: time.sleep(0.01)
print(*[one.pid for one in made], grandchild, flush=True)
time.sleep(60)
"""


@pytest.fixture
def tree() -> Iterator[tuple[psutil.Process, set[int]]]:
    """A process with two children, one of them started by a thread, and a grandchild."""
    with subprocess.Popen([sys.executable, "-c", TREE], stdout=subprocess.PIPE, text=True) as root:
        assert root.stdout is not None
        below = {int(pid) for pid in root.stdout.readline().split()}
        try:
            yield psutil.Process(root.pid), below
        finally:
            for pid in (*below, root.pid):
                with contextlib.suppress(psutil.NoSuchProcess):
                    psutil.Process(pid).kill()


@pytest.mark.parametrize("listed", [True, False], ids=["by the kernel's lists", "by all processes"])
def test_all_that_a_process_started_is_found(
    tree: tuple[psutil.Process, set[int]], listed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, below = tree
    if not listed:
        monkeypatch.setattr(process_tree, "children_of", lambda pid: None)
    elif process_tree.children_of(root.pid) is None:
        pytest.skip("this kernel keeps no list of a process's children")
    assert len(below) == 3
    assert {one.pid for one in process_tree.descendants(root)} == below
    assert ProcessCollector([root.pid]).sample()["processes"] == 4.0


def test_a_process_that_has_ended_has_no_descendants() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as gone:
        root = psutil.Process(gone.pid)
        assert process_tree.descendants(root) == []
        gone.communicate(b"\n")
    assert process_tree.children_of(gone.pid) is None
    with pytest.raises(psutil.NoSuchProcess):
        process_tree.descendants(root)


def refused(path: object) -> NoReturn:
    raise PermissionError(path)


def test_open_files_are_counted_whoever_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    here = psutil.Process()
    before = process_tree.files_of(here)
    with open(os.devnull) as one, open(os.devnull) as other:
        assert one.fileno() != other.fileno()
        assert process_tree.files_of(here) == before + 2
        told = here.num_fds()
        with monkeypatch.context() as patched:
            patched.setattr(os, "stat", refused)
            assert process_tree.files_of(here) == told
