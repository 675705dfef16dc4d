"""The example package, installed by pip; benchmarks and collectors that a file names; and those that are broken."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perfsuite import metric
from perfsuite.configuration import configure
from perfsuite.errors import UsageError
from perfsuite.pythonpath import VARIABLE, joined, package
from perfsuite.suites.probes import PROBES

EXAMPLE = Path(__file__).parents[1] / "plugin_package"
OWN = """
[plugins.benchmarks]
shortness = "{benchmark}"
[plugins.collectors]
handles = "{collector}"
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip has put the example package."""
    folder = tmp_path_factory.mktemp("plugin")
    source = shutil.copytree(EXAMPLE, folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    flags = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--no-compile"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *flags, "--target", str(folder / "site"), str(source)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """What a test's plug-ins add to this process is gone after it."""
    probes = dict(PROBES)
    yield
    metric.drop(set(metric.catalogue()) - metric.built_in())
    for name in set(PROBES) - set(probes):
        del PROBES[name]
    for name in [name for name in sys.modules if name.partition(".")[0] == "perfsuite_example"]:
        del sys.modules[name]


def perfsuite(folder: Path, *words: str, site: Path | None = None) -> subprocess.CompletedProcess[str]:
    path = joined([package(), *([site] if site is not None else [])])
    variables = {**os.environ, VARIABLE: path, "PERFSUITE_HISTORY": "off", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "perfsuite", *words]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=300, check=False)


def test_a_benchmark_of_a_package_runs_by_its_name_on_a_target_of_it(site: Path, tmp_path: Path) -> None:
    words = ("run", "brevity", "--target", "echo:loud", "--duration", "0.5s", "-t", "brief_answers>=0.01")
    done = perfsuite(tmp_path, *words, "--json", "-", site=site)
    assert done.returncode in (0, 3), done.stderr
    result = json.loads(done.stdout)
    assert result["run"]["target"] == "echo:loud"
    (phase,) = result["phases"]
    found = {one["name"]: one for one in phase["metrics"]}
    words_said, brief = found["answer_words"], found["brief_answers"]
    assert words_said["samples"] == brief["samples"] > 0
    assert words_said["stats"]["max"] >= 1.0
    assert brief["verdict"] in ("passed", "undecided", "failed")
    assert (brief["unit"], brief["comparison"], brief["target"]) == ("ratio", ">=", 0.01)
    assert found["response_time"]["samples"] > 0
    assert phase["resources"]["open_files.count"]["series"][0][1] > 0
    assert result["environment"]["collectors"]["open_files"] == "from perfsuite-example 1.0"
    page = next((tmp_path / "test-results").glob("metrics-*.html")).read_text(encoding="utf-8")
    assert "answer_words" in page


def test_its_memory_system_takes_part_in_a_comparison(site: Path, tmp_path: Path) -> None:
    words = ("compare", "notebook", "--memories", "30", "--questions", "10", "--rounds", "1", "--no-lasting")
    done = perfsuite(tmp_path, *words, site=site)
    assert done.returncode == 0, done.stderr
    assert "notebook" in done.stdout


def test_doctor_lists_all_of_it(site: Path, tmp_path: Path) -> None:
    done = perfsuite(tmp_path, "doctor", "--json", site=site)
    found = {one["name"]: (one["state"], one["value"]) for one in json.loads(done.stdout)}
    for name in ("benchmark brevity", "target echo:", "memory:notebook", "open_files"):
        assert found[name] == ("ok", "from perfsuite-example 1.0"), name


def test_doctor_lists_what_the_folder_s_file_names(tmp_path: Path) -> None:
    own(tmp_path, "perfsuite_example/brevity.py:benchmark", "perfsuite_example.open_files:OpenFiles")
    found = {one["name"]: one for one in json.loads(perfsuite(tmp_path, "doctor", "--json").stdout)}
    for name in ("benchmark shortness", "collector handles"):
        assert (found[name]["state"], found[name]["value"]) == ("ok", "from perfsuite.toml"), name
    assert "configuration" not in found
    own(tmp_path, "perfsuite_example/brevity.py:no_such", "perfsuite_example.open_files:OpenFiles")
    found = {one["name"]: one for one in json.loads(perfsuite(tmp_path, "doctor", "--json").stdout)}
    assert "benchmark shortness" not in found
    assert found["configuration"]["state"] == "absent"
    assert "no_such" in found["configuration"]["value"]


def test_completion_offers_its_phases(site: Path, tmp_path: Path) -> None:
    pytest.importorskip("shtab")
    assert "brevity" in perfsuite(tmp_path, "completion", "bash", site=site).stdout
    assert "brevity" not in perfsuite(tmp_path, "completion", "bash").stdout


def test_without_the_package_there_is_none_of_it(tmp_path: Path) -> None:
    done = perfsuite(tmp_path, "run", "brevity")
    assert done.returncode == 2
    assert "unknown phase 'brevity'" in done.stderr
    assert "answer_words" not in metric.catalogue()


METRIC = "{'unit': 'moons', 'kind': 'gauge', 'stat': 'value', 'comparison': '<', 'definition': 'x'}"
PHASE = "{{'name': '{0}', 'duration': 5, 'metrics': ['{1}']}}"
HEAD = "from perfsuite import Benchmark, Probe\nbenchmark = Benchmark"
BROKEN = {
    "raises": ("raise RuntimeError('no moon')", "RuntimeError: no moon"),
    "exits": ("raise SystemExit(3)", "SystemExit: 3"),
    "other": ("benchmark = 7", "is no perfsuite.Benchmark"),
    "taken": (
        f"{HEAD}(phases=[{PHASE.format('load', 'ttft')}])",
        "there is a phase load already",
    ),
    "metric": (
        f"{HEAD}(phases=[], metrics={{'moons': {METRIC}}})",
        "the metric moons has unit = 'moons'",
    ),
    "phase": (
        f"{HEAD}(phases=[{PHASE.format('m', 'tfft')}])",
        "unknown metric 'tfft'",
    ),
    "probe": (
        f"{HEAD}(phases=[], probes=[Probe(name='p', shows=('ttft',))])",
        "the probe p has no function that measures",
    ),
}


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of which every benchmark is broken."""
    about = tmp_path / "example_moons-2.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: example-moons\nVersion: 2.0\n")
    points = [f"{name} = example_moons_{name}:benchmark" for name in BROKEN]
    (about / "entry_points.txt").write_text("\n".join(["[perfsuite.benchmarks]", *points]) + "\n")
    for name, (text, _) in BROKEN.items():
        (tmp_path / f"example_moons_{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_each_broken_one_is_named_in_a_line_and_the_rest_goes_on(broken: Path) -> None:
    before = set(metric.catalogue()), set(PROBES)
    plan = configure({"phase": ["load"]}, environment={})
    assert [phase.name for phase in plan.phases] == ["load"]
    notes = {note.split()[1]: note for note in plan.notes}
    for name, (_, why) in BROKEN.items():
        assert notes[name].startswith(f"plug-in {name} of example-moons 2.0 is broken: "), notes[name]
        assert why in notes[name]
        assert "\n" not in notes[name]
        with pytest.raises(UsageError, match=f"plug-in {name} of example-moons"):
            configure({"phase": [name]}, environment={})
    assert (set(metric.catalogue()), set(PROBES)) == before


def test_a_run_says_what_is_broken_once(broken: Path, tmp_path: Path) -> None:
    done = perfsuite(tmp_path, "run", "load", "--duration", "0.3s", site=broken)
    assert done.stderr.count("plug-in raises of example-moons 2.0 is broken: RuntimeError: no moon") == 1
    assert "Traceback" not in done.stderr
    found = {one["name"]: one for one in json.loads(perfsuite(tmp_path, "doctor", "--json", site=broken).stdout)}
    assert found["benchmark raises"]["state"] == "absent"
    assert "no moon" in found["benchmark raises"]["value"]


def own(folder: Path, benchmark: str, collector: str, file: str = "perfsuite.toml") -> None:
    shutil.copytree(EXAMPLE / "perfsuite_example", folder / "perfsuite_example", dirs_exist_ok=True)
    (folder / file).write_text(OWN.format(benchmark=benchmark, collector=collector), encoding="utf-8")


@pytest.mark.parametrize("where", ["perfsuite.toml", "plan.toml"])
def test_a_file_names_them_by_module_or_by_path(where: str, tmp_path: Path) -> None:
    own(tmp_path, "perfsuite_example/brevity.py:benchmark", "perfsuite_example.open_files:OpenFiles", where)
    flags = ("--plan", where, "--allow-python") if where == "plan.toml" else ()
    done = perfsuite(tmp_path, "run", "brevity", "--duration", "0.5s", "--json", "-", *flags)
    assert done.returncode in (0, 3), done.stderr
    result = json.loads(done.stdout)
    (phase,) = result["phases"]
    assert next(one for one in phase["metrics"] if one["name"] == "answer_words")["samples"] > 0
    assert "open_files.count" in phase["resources"]
    assert result["environment"]["collectors"]["handles"] == f"from {where}"


@pytest.mark.parametrize(
    "text",
    ['[plugins.benchmarks]\nb = "harm.py:b"', '[plugins.collectors]\nb = "harm:b"', 'target = "python:harm:b"'],
)
@pytest.mark.parametrize("command", ["plan", "run", "ab"])
def test_a_plan_file_runs_no_python_unless_the_user_says_so(command: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "harm.py").write_text("open('harmed', 'w').close()\ndef b(messages): return 'no'\n")
    (tmp_path / "plan.toml").write_text(text)
    sides = ("--base", "reference", "--head", "reference") if command == "ab" else ()
    done = perfsuite(tmp_path, command, "--plan", "plan.toml", *sides)
    assert done.returncode == 2, done.stderr
    assert "plan.toml would run Python: " in done.stderr or command == "ab"
    assert not (tmp_path / "harmed").exists()
    perfsuite(tmp_path, "plan", "--plan", "plan.toml", "--allow-python")
    assert (tmp_path / "harmed").exists() or "target" in text  # which is imported where it is driven


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("plugins = 3", "plugins: 3 is no table"),
        ('[plugins]\nbenchmarks = "b:c"', "plugins.benchmarks: 'b:c' names no object"),
        ("[plugins.benchmarks]\nb = 7", "plugins.benchmarks.b: 7 names no object"),
        ('[plugins.benchmarks]\nb = "module"', "'module' names no object"),
        ('[plugins.benchmark]\nb = "m:o"', "unknown kind of plug-in 'benchmark'"),
        ('[plugins.benchmarks]\nb = "no_such_module_here:o"', "No module named 'no_such_module_here'"),
        ('[plugins.collectors]\nb = "gone.py:o"', "gone.py"),
    ],
)
def test_what_a_file_names_wrongly_is_a_mistake_of_it(text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "perfsuite.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as mistake:
        configure(folder=tmp_path, environment={})
    assert why in str(mistake.value)


def test_two_benchmarks_of_one_name_do_not_replace_each_other(tmp_path: Path) -> None:
    own(tmp_path, "perfsuite_example/brevity.py:benchmark", "perfsuite_example.open_files:OpenFiles")
    text = (tmp_path / "perfsuite.toml").read_text(encoding="utf-8")
    again = 'again = "perfsuite_example.brevity:benchmark"\n[plugins.collectors]'
    (tmp_path / "perfsuite.toml").write_text(text.replace("[plugins.collectors]", again), encoding="utf-8")
    with pytest.raises(UsageError, match="has a phase brevity already"):
        configure({"phase": ["brevity"]}, folder=tmp_path, environment={})


def test_a_plan_is_made_again_and_again(tmp_path: Path) -> None:
    own(tmp_path, "perfsuite_example/brevity.py:benchmark", "perfsuite_example.open_files:OpenFiles")
    for _ in range(2):
        plan = configure({"phase": ["brevity"]}, folder=tmp_path, environment={})
        assert [one.name for one in plan.collectors] == ["handles"]
    other = tmp_path / "other"
    other.mkdir()
    assert configure(folder=other, environment={}).collectors == ()
    with pytest.raises(UsageError, match="unknown phase"):
        configure({"phase": ["brevity"]}, folder=other, environment={})
