"""Packages that add collectors and targets, laid on the path as pip lays them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

import perfsuite
from perfsuite import runner
from perfsuite.collectors import present, said_of
from perfsuite.configuration import configure
from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.plugins import COLLECTORS, plugins
from perfsuite.pythonpath import VARIABLE, joined, package
from perfsuite.targets import check_target

CODE = """
from perfsuite.targets.function import FunctionTarget

class Tides:
    name = "tides"
    absent = None
    def __init__(self, pid): self.level = 0.0
    def sample(self):
        self.level += 1.0
        return {"level_bytes": self.level}

class Sulks(Tides):
    name = "sulks"
    def sample(self): raise RuntimeError("I will not")

class Away(Tides):
    name = "away"
    absent = "no tide here"

class Takes(Tides):
    name = "host"

def raises(pid): raise ValueError("no such sea")
def none(pid): return None

def parrot(plan, rest, workdir):
    if rest != "polly": raise KeyError(rest)
    return FunctionTarget(lambda messages: messages[-1]["content"], "parrot")
"""
POINTS = """
[perfsuite.collectors]
away = example_tides:Away
gone = example_tides_gone:Nothing
none = example_tides:none
raises = example_tides:raises
sulks = example_tides:Sulks
takes = example_tides:Takes
tides = example_tides:Tides

[perfsuite.targets]
parrot = example_tides:parrot
mute = example_tides:nothing_of_that_name
"""
ABSENT = {
    "away": "absent: no tide here",
    "gone": "No module named 'example_tides_gone'",
    "none": "is broken: AttributeError",
    "raises": "is broken: ValueError: no such sea",
    "takes": "its collector's name, host, is taken",
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    about = tmp_path / "example_tides-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: example-tides\nVersion: 1.2\n")
    (about / "entry_points.txt").write_text(POINTS)
    (tmp_path / "example_tides.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "example_tides", raising=False)
    return tmp_path


def test_collectors_of_a_package_are_named_and_broken_ones_say_what_is_wrong(site: Path) -> None:
    assert {"tides", "sulks"} <= {one.name for one in present(None)}
    assert not {"away", "takes"} & {one.name for one in present(None)}
    said = said_of()
    assert said["tides"] == said["sulks"] == "from example-tides 1.2"
    for name, why in ABSENT.items():
        assert why in said[name], name
        assert said[name].startswith("absent: ")
        assert name == "away" or f"plug-in {name} of example-tides 1.2 is broken" in said[name]


def test_none_are_there_without_the_package() -> None:
    assert "tides" not in said_of()
    assert "tides" not in {one.name for one in plugins(COLLECTORS)}


def test_a_run_samples_them_and_a_broken_one_does_not_end_it(site: Path) -> None:
    plan = configure({"target": "parrot:polly", "phase": ["load"], "duration": 0.5}, environment={}, keywords=True)
    result = asyncio.run(runner.execute_async(plan))
    assert result.run.error is None
    (phase,) = result.phases
    tides = phase.resources["tides.level_bytes"]
    assert tides.unit == "bytes"
    assert [value for _, value in tides.series][:2] == [1.0, 2.0]
    assert [event.text for event in phase.events if "sulks" in event.text] == ["sulks: RuntimeError: I will not"]
    assert result.environment.collectors["tides"] == "from example-tides 1.2"
    assert "no such sea" in result.environment.collectors["raises"]


def test_a_target_that_is_broken_is_named(site: Path) -> None:
    check_target("parrot:polly")
    for target, why in (("parrot:other", "KeyError: 'other'"), ("mute:x", "nothing_of_that_name")):
        plan = configure({"target": target, "phase": ["load"]}, environment={}, keywords=True)
        with pytest.raises(PerfsuiteError, match=r"of example-tides 1\.2 is broken") as broken:
            asyncio.run(runner.execute_async(plan))
        assert why in str(broken.value)
    with pytest.raises(UsageError, match="unknown target"):
        check_target("parakeet:x")


def test_doctor_lists_them(site: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "perfsuite", "doctor", "--json"],
        capture_output=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", VARIABLE: joined([package(), str(site)])},
    )
    found = {one["name"]: one for one in json.loads(done.stdout)}
    assert (found["tides"]["state"], found["tides"]["value"]) == ("ok", "from example-tides 1.2")
    assert found["gone"]["state"] == found["target mute:"]["state"] == "absent"
    assert found["target parrot:"]["state"] == "ok"


def test_the_protocols_are_public(site: Path) -> None:
    from perfsuite.collectors.base import Collector
    from perfsuite.targets.base import Target

    assert (perfsuite.Collector, perfsuite.Target) == (Collector, Target)
