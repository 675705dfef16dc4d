"""ab from the command line: what is passed on, what is written, and once from end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from perfsuite.cli import main
from perfsuite.suites import ab
from runs_made import result, series


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Runs that are played, the second side 15 % slower; what each was given."""
    given: list[list[str]] = []
    draws = {"one": iter(series(40, seed=1)), "two": iter(1.15 * x for x in series(40, seed=2))}

    def measure(words: list[str], *, folder: Path, **more: Any) -> object:
        given.append(list(words))
        return result(len(given), next(draws[folder.name]))

    monkeypatch.setattr(ab, "measure", measure)
    return given


SIDES = ["--base", "one", "--head", "two"]


def test_a_slower_head_is_exit_4_and_is_written_down(
    played: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "page.md"))
    assert main(["ab", *SIDES, "--junitxml", "j.xml", "--markdown", "m.md"]) == 4
    out = capsys.readouterr().out
    assert out.startswith("REGRESSED  load   against one")
    (data,) = Path("test-results").glob("ab-*.json")
    (text,) = Path("test-results").glob("ab-*.md")
    assert out.splitlines()[-2:] == [str(data), str(text)]
    assert json.loads(data.read_bytes())["verdict"] == "regressed"
    summary = text.read_text(encoding="utf-8")
    assert summary.startswith("## two against one: regressed")
    assert "10 and 10 runs in turns" in summary
    assert summary == Path("m.md").read_text(encoding="utf-8")
    assert summary in (tmp_path / "page.md").read_text(encoding="utf-8")
    assert ElementTree.fromstring(Path("j.xml").read_bytes()).get("failures") == "1"


def test_short_runs_of_the_shortest_benchmark_unless_told_otherwise(played: list[list[str]]) -> None:
    main(["ab", *SIDES, "--pairs", "3"])
    assert played[0] == ["baseline", "--duration=2s"]
    assert len(played) == 8
    played.clear()
    main(["ab", *SIDES, "--pairs", "3", "load", "-m", "ttft", "--duration", "1s", "-o", "out", "--seed", "4"])
    assert played[0] == ["load", "--metrics=ttft", "--duration=1s", "--seed=4"]
    assert list(Path("out").glob("ab-*.json"))


def test_what_the_folder_says_is_left_to_it(played: list[list[str]], tmp_path: Path) -> None:
    (tmp_path / "one/perfsuite.toml").write_text('phase = ["token"]\nduration = "3s"\n', encoding="utf-8")
    main(["ab", *SIDES, "--pairs", "3"])
    assert played[0] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--base is missing"),
        (["--base", "one", "--pairs", "2"], "--pairs"),
        (["--base", "nothing-like-it"], "--base nothing-like-it"),
        ([*SIDES, "lod"], "unknown phase 'lod'"),
        ([*SIDES, "--junitxml", "no/folder.xml"], "--junitxml"),
        ([*SIDES, "--hed", "x"], "did you mean --head"),
    ],
)
def test_wrong_usage(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ab", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_inconclusive_counts_when_it_is_to(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = iter(series(200, seed=5, spread=0.4))
    monkeypatch.setattr(ab, "measure", lambda words, **more: result(int(next(count)), next(draws)))
    count = iter(range(1000))
    assert main(["ab", *SIDES]) == 0
    assert main(["ab", *SIDES, "--fail-on-inconclusive"]) == 5
    assert main(["ab", *SIDES, "--strict"]) == 5


def test_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two folders whose modules have one name, and answer after 2 and after 80 ms."""
    for name, delay in (("one", 0.002), ("two", 0.080)):
        code = f"import time\n\n\ndef answer(messages):\n    time.sleep({delay})\n    return 'yes'\n"
        (tmp_path / name / "shop.py").write_text(code, encoding="utf-8")
        (tmp_path / name / "perfsuite.toml").write_text('target = "python:shop:answer"\n', encoding="utf-8")
    code = main(["ab", *SIDES, "--pairs", "3", "--duration", "400ms", "--json", "-"])
    (judged,) = json.loads(capsys.readouterr().out)
    # What noise a busy machine adds is its own; that each side's own module was measured is seen through any.
    assert code == (4 if judged["verdict"] == "regressed" else 0)
    changes = {one["figure"]["metric"] + " " + one["figure"]["stat"]: one for one in judged["changes"]}
    slower = changes["response_time p50"]
    assert slower["verdict"] in ("regressed", "inconclusive")
    assert slower["after"] >= 80.0
    assert slower["ratio"] > 1.5
    assert slower["runs"] == [3, 3]
