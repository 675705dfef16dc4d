"""A memory system in a process of its own: what is timed, what comes back, and every way in which one goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

import psutil
import pytest

from perfsuite.errors import UsageError
from perfsuite.memory.host import BATCH, Hosted, Item, Operation, Outcome, SystemFailed
from perfsuite.memory.usage import Usage

PLAIN = "memory_systems:Plain"


def run_on(name: str, workdir: Path, work: Any, **options: Any) -> Any:
    """What ``await work(system)`` gives, of a system that is started for it."""

    async def main() -> Any:
        async with Hosted.start(name, workdir=workdir, **options) as system:
            return await work(system)

    return asyncio.run(main())


def faulty(fault: str, at: int = 0) -> dict[str, Any]:
    return {"options": {"fault": fault, "at": at}}


def items(count: int) -> list[Item]:
    return [Item(f"the code of door {n} is marker{n}x") for n in range(count)]


def is_gone(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


def test_a_class_in_the_current_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``python:module:function`` is: the installed command has no current folder on its path."""
    (tmp_path / "my_system_here.py").write_text("from memory_systems import Plain as Mine\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])

    async def work(system: Hosted) -> Outcome:
        await system.store(items(1))
        return await system.recall(["marker0x"], 1)

    assert run_on("my_system_here:Mine", tmp_path / "work", work).errors == []


@pytest.mark.parametrize("name", ["reference", "fts5", PLAIN])
def test_what_is_stored_is_found(name: str, tmp_path: Path) -> None:
    async def work(system: Hosted) -> tuple[Outcome, Outcome]:
        stored = await system.store(items(50))
        await system.flush()
        return stored, await system.recall([f"marker{n}x" for n in range(50)], 3)

    stored, found = run_on(name, tmp_path, work)
    assert stored.errors == found.errors == []
    assert len(stored.samples_ms) == len(stored.results) == 50
    assert all(sample > 0 for sample in stored.samples_ms)
    assert stored.busy_s * 1000 >= sum(stored.samples_ms)
    assert sorted(stored.begun_ms) == stored.begun_ms
    for n, hits in enumerate(found.results):
        assert hits[0].text == f"the code of door {n} is marker{n}x"
        assert [hits[0].id] == stored.results[n]


def test_a_baseline_updates_deletes_and_forgets(tmp_path: Path) -> None:
    async def work(system: Hosted) -> None:
        ids = [one for (one,) in (await system.store(items(3))).results]
        assert {"update", "delete"} <= system.offers
        assert (await system.update([(ids[0], "the code of door 0 is newer0x")])).errors == []
        assert (await system.delete([ids[1]])).errors == []
        found = (await system.recall(["marker0x", "newer0x", "marker1x", "marker2x"])).results
        assert [[hit.id for hit in hits] for hits in found] == [[], [ids[0]], [], [ids[2]]]
        (error,) = (await system.delete(["77"])).errors
        assert "there is no memory 77" in error[1]
        await system.reset()
        assert (await system.recall(["marker2x"])).results == [[]]

    run_on("fts5", tmp_path, work)


@pytest.mark.parametrize("name", ["reference", "fts5"])
def test_what_was_acknowledged_survives_a_kill(name: str, tmp_path: Path) -> None:
    async def kill(system: Hosted) -> int:
        await system.store(items(20))
        await system.kill()
        with pytest.raises(SystemFailed, match="was killed"):
            await system.recall(["x"])
        return system.pid

    async def look(system: Hosted) -> Outcome:
        return await system.recall([f"marker{n}x" for n in range(20)])

    assert is_gone(run_on(name, tmp_path, kill))
    found = run_on(name, tmp_path, look)
    assert all(hits for hits in found.results)


def test_what_a_killed_list_in_memory_held_is_lost(tmp_path: Path) -> None:
    """The negative control of the test above."""

    async def kill(system: Hosted) -> None:
        await system.store(items(20))
        await system.kill()

    async def look(system: Hosted) -> Outcome:
        return await system.recall(["marker3x"])

    run_on(PLAIN, tmp_path, kill)
    assert run_on(PLAIN, tmp_path, look).results == [[]]


def test_a_sample_is_the_call_alone(tmp_path: Path) -> None:
    """A delay inside the call is in its sample; what lies between two calls is in none."""

    async def work(system: Hosted) -> tuple[Outcome, Outcome]:
        return await system.store(items(3)), await system.recall(["marker0x"])

    stored, found = run_on(PLAIN, tmp_path, work, options={"delay_s": 0.03})
    assert min(stored.samples_ms) >= 30
    assert found.samples_ms[0] < sum(stored.samples_ms)


def test_many_calls_are_sent_in_batches_and_come_back_as_one(tmp_path: Path) -> None:
    async def work(system: Hosted) -> Outcome:
        return await system.store(items(BATCH + 5))

    stored = run_on(PLAIN, tmp_path, work)
    assert [one for (one,) in stored.results] == [f"p{n}" for n in range(BATCH + 5)]
    assert sorted(stored.begun_ms) == stored.begun_ms


@pytest.mark.parametrize(("name", "most"), [("memory_systems:Overlapping", 4), ("memory_systems:Threaded", 4)])
def test_workers_overlap_where_the_system_allows_it(name: str, most: int, tmp_path: Path) -> None:
    async def work(system: Hosted) -> Outcome:
        return await system.mixed([Operation("recall", (f"q{n}", 1)) for n in range(40)], 4)

    outcome = run_on(name, tmp_path, work)
    assert outcome.workers == 4
    assert outcome.errors == []
    assert max(int(hits[0].text) for hits in outcome.results) == most


def test_calls_of_a_system_that_is_not_concurrent_never_overlap(tmp_path: Path) -> None:
    async def work(system: Hosted) -> Outcome:
        return await system.mixed([Operation("recall", (f"q{n}", 1)) for n in range(20)], 4)

    options = {"concurrent": False, "delay_s": 0.001}
    outcome = run_on("memory_systems:Overlapping", tmp_path, work, options=options)
    assert outcome.workers == 1
    assert {int(hits[0].text) for hits in outcome.results} == {1}


def test_a_mix_of_plain_methods_and_coroutines(tmp_path: Path) -> None:
    async def work(system: Hosted) -> Outcome:
        mix = [Operation("recall", ("q", 1)), Operation("store", (Item("text"),))] * 20
        return await system.mixed(mix, 8)

    outcome = run_on("memory_systems:Overlapping", tmp_path, work)
    assert outcome.errors == []
    assert sorted(outcome.results[1::2]) == sorted([f"p{n}"] for n in range(20))


@pytest.mark.parametrize(
    ("name", "workers", "options"),
    [(PLAIN, 1, {"delay_s": 0.02}), ("memory_systems:Overlapping", 4, {}), ("memory_systems:Threaded", 4, {})],
)
def test_a_batch_may_be_cut_off(name: str, workers: int, options: dict[str, Any], tmp_path: Path) -> None:
    """After its time no call is made; those that were are whole, the first of the batch."""

    async def work(system: Hosted) -> tuple[Outcome, Outcome]:
        mix = [
            Operation("store", (Item(f"text {n}"),)) if n % 2 == 0 else Operation("recall", ("q", 1))
            for n in range(4000)
        ]
        return await system.mixed(mix, workers, longest_s=0.2), await system.mixed(mix[:3], workers, longest_s=0.0)

    cut, one = run_on(name, tmp_path, work, options=options)
    assert 1 < len(cut.results) < 4000
    assert len(cut.results) == len(cut.samples_ms) == len(cut.begun_ms)
    assert cut.errors == []
    assert all(isinstance(result, list) for result in cut.results)
    assert 1 <= len(one.results) <= 3


def test_no_workers_are_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must be 1 or more, not 0"):
        run_on(PLAIN, tmp_path, lambda system: system.mixed([], 0))


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("raise", "ValueError: refused"),
        ("exit", "SystemExit: 4"),
        ("nothing", "wrong result: TypeError: it gave NoneType, not a list of ids"),
        ("numbers", "store gave an id of type int"),
    ],
)
def test_a_call_that_fails_is_a_failure_and_the_others_go_on(fault: str, text: str, tmp_path: Path) -> None:
    async def work(system: Hosted) -> tuple[Outcome, Outcome]:
        return await system.store(items(3)), await system.recall(["marker0x"])

    stored, found = run_on("memory_systems:Faulty", tmp_path, work, **faulty(fault, at=1))
    assert [index for index, _ in stored.errors] == [1, 2]
    assert text in stored.errors[0][1]
    assert stored.results == [["p0"], None, None]
    assert len(stored.good_ms()) == 1
    assert found.results[0][0].id == "p0"


@pytest.mark.parametrize(
    ("fault", "text"),
    [("too many", "at most 5 were asked for"), ("garbage", "in place of a hit"), ("text", "str, not a list of hits")],
)
def test_hits_of_the_wrong_shape_are_a_failure(fault: str, text: str, tmp_path: Path) -> None:
    async def work(system: Hosted) -> Outcome:
        return await system.recall(["q"])

    outcome = run_on("memory_systems:Faulty", tmp_path, work, **faulty(fault))
    assert outcome.results == [None]
    assert text in outcome.errors[0][1]


def test_what_a_system_prints_harms_nothing(tmp_path: Path) -> None:
    async def work(system: Hosted) -> Outcome:
        outcome = await system.store(items(30))
        assert len(system.last_words) <= 8192
        return outcome

    outcome = run_on("memory_systems:Faulty", tmp_path, work, **faulty("chatty"))
    assert outcome.errors == []
    assert len(outcome.results) == 30


@pytest.mark.parametrize(
    ("fault", "kind", "text"),
    [
        ("hang", "hung", "Faulty hung in store: nothing came of a call for 1 s.*waiting for the quorum"),
        ("die", "died", "Faulty died in store .SIGABRT.*segment 7 is damaged"),
        ("break the talk", "garbage", "garbage"),
    ],
)
def test_a_system_that_is_gone_says_what_it_said_last(fault: str, kind: str, text: str, tmp_path: Path) -> None:
    pids = []

    async def work(system: Hosted) -> None:
        pids.append(system.pid)
        with pytest.raises(SystemFailed, match=text) as caught:
            await system.store(items(10))
        assert caught.value.kind == kind
        with pytest.raises(SystemFailed, match=text):  # and it stays gone
            await system.recall(["q"])

    run_on("memory_systems:Faulty", tmp_path, work, timeout_s=1.0, **faulty(fault, at=3))
    assert is_gone(pids[0])


def test_a_batch_that_takes_longer_than_a_call_may_is_no_hang(tmp_path: Path) -> None:
    """The negative control: what counts is the time since the last call came back."""

    async def work(system: Hosted) -> Outcome:
        return await system.store(items(20))

    outcome = run_on(PLAIN, tmp_path, work, timeout_s=1.0, options={"delay_s": 0.1})
    assert outcome.busy_s > 1.0
    assert outcome.errors == []


@pytest.mark.parametrize(
    ("name", "fault", "text"),
    [
        ("memory_systems:Faulty", "start", "could not be started: RuntimeError: no licence found"),
        ("memory_systems:Faulty", "die at start", "died in start .exit status 3.*cannot open the vault"),
        ("memory_systems:Nobody", "", "AttributeError"),
        ("no_such_module:Nobody", "", "ModuleNotFoundError"),
    ],
)
def test_a_system_that_cannot_be_started_says_why(name: str, fault: str, text: str, tmp_path: Path) -> None:
    options = faulty(fault) if fault else {}
    with pytest.raises(SystemFailed, match=text):
        run_on(name, tmp_path, lambda system: system.info(), **options)


def test_an_unknown_system_is_named_with_those_that_are_near(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown memory system 'fts4'; did you mean fts5"):
        run_on("fts4", tmp_path, lambda system: system.info())


def test_the_child_and_what_it_detached_end_when_its_host_is_killed(tmp_path: Path) -> None:
    program = (
        "import asyncio, os, sys; from pathlib import Path; from perfsuite.memory.host import Hosted\n"
        "async def main():\n"
        "    async with Hosted.start('memory_systems:Detaching', workdir=Path(sys.argv[1])) as system:\n"
        "        print(system.pid, flush=True)\n"
        "        os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())"
    )
    path = os.pathsep.join(sys.path)
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, timeout=60)
    for pid in (int(done.stdout), int((tmp_path / "daemon").read_text())):
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(pid).wait(timeout=30)
        assert is_gone(pid)


def left_by(system: Hosted) -> Any:
    return system.recall(["where?"])


def test_temporary_files_of_a_system_go_with_it(tmp_path: Path) -> None:
    outcome: Outcome = run_on("memory_systems:Littering", tmp_path, left_by)
    left = Path(outcome.results[0][0].text)
    assert left.parent.parent == Path(tempfile.gettempdir())
    assert not left.parent.exists()
    assert list(tmp_path.iterdir()) == []


def test_temporary_files_of_a_killed_run_go_at_the_next_start(tmp_path: Path) -> None:
    program = (
        "import asyncio, os, sys; from pathlib import Path; from perfsuite.memory.host import Hosted\n"
        "async def main():\n"
        "    async with Hosted.start('memory_systems:Littering', workdir=Path(sys.argv[1])) as system:\n"
        "        print((await system.recall(['where?'])).results[0][0].text, flush=True)\n"
        "        os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, str(tmp_path / "first")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    left = Path(done.stdout.strip())
    assert (left / "server.config").exists()
    run_on("memory_systems:Littering", tmp_path / "second", left_by)
    assert not left.parent.exists()


@pytest.mark.parametrize("end", ["close", "kill", "die", "leave"])
def test_what_a_system_detaches_ends_with_it(end: str, tmp_path: Path) -> None:
    daemons = []

    async def work(system: Hosted) -> None:
        daemons.append(int((tmp_path / "daemon").read_text()))
        assert psutil.Process(daemons[0]).is_running()
        if end == "close":
            await system.close()
        elif end == "kill":
            await system.kill()
        elif end == "die":
            with pytest.raises(SystemFailed, match=r"died in store .SIGABRT"):
                await system.store(items(1))

    run_on("memory_systems:Detaching", tmp_path, work, options={"die": end == "die"})
    assert is_gone(daemons[0])


def test_what_a_system_detaches_counts_as_its_own(tmp_path: Path) -> None:
    async def work(system: Hosted) -> Usage:
        return system.rusage()

    plain = run_on(PLAIN, tmp_path / "plain", work)
    detaching = run_on("memory_systems:Detaching", tmp_path / "detaching", work)
    assert (plain.processes, detaching.processes) == (1, 2)
    assert detaching.resident_bytes - plain.resident_bytes >= 32 << 20


def test_usage_is_that_of_the_child(tmp_path: Path) -> None:
    async def work(system: Hosted) -> None:
        before = system.rusage()
        await system.store(items(64))
        await system.flush()
        after = system.rusage()
        assert after.resident_bytes - before.resident_bytes >= 60 << 20
        assert after.cpu_s >= before.cpu_s
        assert before.disk_bytes == 0 < after.disk_bytes
        assert after.processes == 1

    run_on(PLAIN, tmp_path, work, options={"held_bytes": 1 << 20})


def test_the_harness_own_cost_is_measured(tmp_path: Path) -> None:
    async def work(system: Hosted) -> None:
        plain = await system.overhead("store")
        awaited = await system.overhead("recall")
        assert 0 < plain.sample_ms <= plain.turn_ms
        assert 0 < awaited.sample_ms <= awaited.turn_ms

    run_on("memory_systems:Overlapping", tmp_path, work)


def test_the_model_s_counts_are_told_apart_by_batch(tmp_path: Path) -> None:
    counted = {"calls": 5.0, "wait_ms": 7.0}

    async def work(system: Hosted) -> None:
        counted["calls"] += 1
        outcome = await system.store(items(1))
        assert outcome.model == {"calls": 0.0, "wait_ms": 0.0}
        assert outcome.model_wait_ms == 0.0

    run_on(PLAIN, tmp_path, work, model_meter=lambda: dict(counted))
    assert Outcome().model_wait_ms is None


def test_it_runs_under_a_python_that_has_nothing_installed(tmp_path: Path) -> None:
    """Neither this package nor what it needs: the adapter of the baseline and the child do without."""
    venv.create(tmp_path / "bare", with_pip=False)
    python = tmp_path / "bare/bin/python"
    missing = "import importlib.util as u; print([u.find_spec(n) for n in ('perfsuite', 'msgspec', 'psutil')])"
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    assert subprocess.run([python, "-c", missing], capture_output=True, text=True, env=bare).stdout.split() == [
        "[None,",
        "None,",
        "None]",
    ]

    async def work(system: Hosted) -> Outcome:
        await system.store(items(3))
        return await system.recall(["marker2x"])

    assert run_on("fts5", tmp_path / "work", work, python=python).results[0][0].text.endswith("marker2x")
