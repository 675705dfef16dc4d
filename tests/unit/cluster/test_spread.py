"""Loads spread over workers of Dask: what they say together, and what is said when one of them, or all, are gone."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from perfsuite.cluster import engine, home
from perfsuite.cluster.engine import Engine, SchedulerGone
from perfsuite.cluster.spread import Spread
from perfsuite.errors import MissingExtra, UsageError
from perfsuite.loadgen import Delivered, LoadSpec
from perfsuite.loadgen.recording import Here
from perfsuite.loadgen.schedule import schedule
from perfsuite.plan import Plan, Workload
from perfsuite.serve.server import Server
from perfsuite.targets import open_target
from perfsuite.workloads.requests import requests
from serving import serving

GIVE_UP_S = 120.0
"""For what has to happen on any machine, however busy."""
RUN = "20260101_000000-test"


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that awaits, in a loop of its own."""

    @wraps(test)
    def run(*arguments: Any, **fixtures: Any) -> None:
        asyncio.run(test(*arguments, **fixtures))

    return run


class Driving:
    """A spread, a server, and the target that both know."""

    def __init__(self, spread: Spread, server: Server, target: Any) -> None:
        self.spread, self.server, self.target = spread, server, target
        self.recording: Any = None
        self.ticked = asyncio.Event()

    async def drive(self, spec: LoadSpec, **more: Any) -> Delivered:
        source = requests(1, slots=4, workload=Workload(), expecting=False)
        self.recording = self.spread.recording(
            self.target, source, spec, limit_ms=5000.0, objectives={"response_time": 1000.0}, raw=False
        )
        async with asyncio.timeout(GIVE_UP_S):
            return await self.spread.drive(
                self.target, source, spec, self.recording, progress=lambda share: self.ticked.set(), **more
            )

    async def begun(self, spec: LoadSpec, **more: Any) -> asyncio.Task[Delivered]:
        """A load of which two shards (or the only one) have told of requests that were answered."""
        self.recording = None
        load = asyncio.create_task(self.drive(spec, **more))
        async with asyncio.timeout(GIVE_UP_S):
            while not (
                self.recording is not None
                and len(self.recording.shards) == len(self.pids() or "1")
                and all(one.last is not None and one.last.counts["completed"] for one in self.recording.shards.values())
            ):
                await self.ticked.wait()
                self.ticked.clear()
        return load

    def pids(self) -> dict[str, int]:
        """Process ids of the workers, by address."""
        assert self.spread._engine is not None
        cluster = self.spread._engine._cluster
        return {} if cluster is None else {worker.worker_address: worker.pid for worker in cluster.workers.values()}


@asynccontextmanager
async def driving(tmp_path: Path, cluster: str = "local:2", **plan: Any) -> AsyncIterator[Driving]:
    pytest.importorskip("distributed")
    async with serving() as server:
        made = Plan(target=server.url, cluster=cluster, **plan)
        target = await open_target(made, tmp_path)
        try:
            async with Spread(made, RUN, tmp_path) as spread:
                yield Driving(spread, server, target)
        finally:
            await target.close()


@in_a_loop
async def test_two_shards_are_one_load_and_stop_when_they_are_told(tmp_path: Path) -> None:
    async with driving(tmp_path) as one:
        delivered = await one.drive(LoadSpec(duration_s=600.0, concurrency=4, max_requests=43))
        assert (delivered.sent, delivered.requests, delivered.completed, delivered.failed) == (43, 41, 41, 0)
        assert one.server.counts.requests["/v1/chat/completions", 200] == 43  # two found out how to ask
        assert [(row["shard"], row["attempt"], row["state"], row["requests"]) for row in delivered.shards] == [
            (1, 1, "done", 21),
            (2, 1, "done", 20),
        ]
        assert one.recording.histogram("response_time").count == 41
        assert delivered.max_in_flight == 4
        assert "2 shards" in delivered.where
        assert all(0.0 < row["clock_error_ms"] < 1e4 for row in delivered.shards)
        spec = LoadSpec(duration_s=600.0, rate=200.0, arrivals="constant", max_requests=50)
        due: list[int] = []
        again = await one.drive(spec, on_reply=lambda request, reply, failure, times: due.append(times.due_ns))
        assert (again.sent, again.completed) == (50, 50)
        # Every end is told, each by the instant of the schedule that it is of.
        assert sorted(due) == [one.recording.start_ns + at for at, _ in islice(schedule(spec), 50)]
        assert one.recording.windows()["due"] == [50.0]
        assert "2 workers" in one.spread.notes()[0]
        stop = asyncio.Event()
        load = await one.begun(LoadSpec(duration_s=3600.0, concurrency=2), stop=stop)
        stop.set()  # what they had is told, and the workers are free again
        delivered = await load
        assert delivered.ended == "stopped"
        assert delivered.completed == one.recording.completed > 0


@in_a_loop
async def test_a_worker_that_is_killed_loses_its_part_alone(tmp_path: Path) -> None:
    async with driving(tmp_path, rerun_lost=True) as one:
        spec = LoadSpec(duration_s=6.0, rate=40.0, arrivals="constant")
        load = await one.begun(spec)
        os.kill(one.pids()[sorted(one.pids())[1]], signal.SIGKILL)
        delivered = await load
        first, second, again = delivered.shards
        assert (first["state"], first["requests"], first["shard"]) == ("done", 120, 1)
        assert str(second["state"]).startswith("lost: ")
        assert 0 < second["requests"] < 120  # its last second is kept
        assert delivered.requests == first["requests"] + second["requests"]
        assert delivered.short is not None
        assert "shard 2 of 2 was lost" in delivered.short
        assert "% of the load was delivered" in delivered.short
        assert (again["shard"], again["attempt"], again["state"], again["requests"]) == (2, 2, "done", 120)
        assert one.recording.started == delivered.requests  # … and the other attempt is in no figure


@asynccontextmanager
async def started(*arguments: str, until: bytes) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process of Dask's, once it has said that on stderr."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *arguments, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(GIVE_UP_S):
            while until not in (line := await process.stderr.readline()):
                assert line, f"{arguments} ended before it said {until!r}"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@in_a_loop
async def test_a_scheduler_that_dies_ends_the_load_and_keeps_what_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "scheduler.json"
    common = ("--scheduler-file", str(file))
    loopback = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--dashboard-address", "127.0.0.1:0")
    scheduler_says = ("distributed.cli.dask_scheduler", *common, *loopback)
    worker_says = ("distributed.cli.dask_worker", *common, "--nthreads", "1", "--no-nanny", "--no-dashboard")
    async with (
        started(*scheduler_says, until=b"Scheduler at:") as scheduler,
        started(*worker_says, until=b"Registered to:"),
    ):
        import json

        async with driving(tmp_path, cluster=json.loads(file.read_text())["address"]) as one:
            load = await one.begun(LoadSpec(duration_s=3600.0, concurrency=2))
            scheduler.kill()
            with pytest.raises(SchedulerGone, match="is gone"):
                await load
            assert one.recording.completed > 0


@in_a_loop
async def test_a_load_that_cannot_be_spread_says_why(tmp_path: Path) -> None:
    made = Plan(target="reference", cluster="local:2")
    target = await open_target(made, tmp_path)
    spread = Spread(made, RUN, tmp_path)  # not open: nothing of this needs a worker
    try:
        spec = LoadSpec(duration_s=60.0, concurrency=1, max_requests=3)
        asked = requests(1, slots=1, workload=Workload())
        for source, why in ((asked, "is looked into"), (iter([next(asked)] * 3), "is looked into")):
            recording = spread.recording(target, source, spec, limit_ms=5000.0, objectives={}, raw=False)
            delivered = await spread.drive(target, source, spec, recording)
            assert delivered.completed == 3
            assert why in delivered.where
            assert delivered.shards == []
        assert "this process alone" in spread.notes()[0]
        alone = await Here().drive(
            target,
            asked,
            spec,
            Here().recording(target, asked, spec, limit_ms=5000.0, objectives={}, raw=False),
        )
        assert alone.where == ""
    finally:
        await target.close()


@in_a_loop
async def test_two_clusters_of_this_machine_take_no_port_from_each_other(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    one = await Engine.open("local:1", tmp_path)
    try:
        other = await Engine.open("local:1", tmp_path)  # a port that is taken is a warning, and fails the test
        await other.close()
        assert one._cluster.scheduler.http_server.address == "127.0.0.1"
    finally:
        await one.close()


@in_a_loop
async def test_where_no_scheduler_answers_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(engine, "CONNECT_S", 0.3)
    with pytest.raises(UsageError, match=r"tcp://127\.0\.0\.1:9: no scheduler could be used there"):
        await Engine.open("tcp://127.0.0.1:9", tmp_path)


@in_a_loop
async def test_without_dask_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtra, match=r"perfsuite\[cluster\]"):
        await Engine.open("local:2", tmp_path)


def test_workers_that_cannot_be_used() -> None:
    here = home.about()
    assert engine._unusable(here) is None
    other = home.About("0.0.1", here.python, here.host, here.pid)
    assert "has perfsuite 0.0.1, not" in str(engine._unusable(other))
    assert "No module named 'perfsuite'" in str(engine._unusable(ModuleNotFoundError("No module named 'perfsuite'")))


def test_a_part_for_another_process_is_refused() -> None:
    from perfsuite.cluster.orders import Order
    from perfsuite.errors import PerfsuiteError

    order = Order(
        run="another",
        load=1,
        shard=0,
        attempt=1,
        topic="t",
        spec=LoadSpec(duration_s=1.0, rate=1.0),
        recipe=requests(1, slots=1, workload=Workload()).recipe,
        slots=1,
        limit_ms=1.0,
        objectives={},
    )
    with pytest.raises(PerfsuiteError, match="took the place of one that is gone"):
        home.drive_part(order)
