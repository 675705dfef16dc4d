"""init-baselines and detect: files in, a table and an exit code out."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from msgspec.structs import replace

from perfsuite.cli import main
from perfsuite.history.store import History
from perfsuite.result import Result, dump
from perfsuite.suites import fresh
from runs_made import result, series, written

FOLDER = Path("test-results")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


def baseline(count: int = 10, **more: object) -> None:
    paths = written(FOLDER, series(count, seed=1), **more)
    assert main(["init-baselines", *map(str, paths)]) == 0
    for path in paths:
        path.unlink()


def test_ten_runs_against_ten(capsys: pytest.CaptureFixture[str]) -> None:
    baseline()
    written(FOLDER, series(10, seed=2), first=20)
    assert main(["detect", "test-results/results-*.json"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("OK  load")
    written(FOLDER / "slow", [1.15 * x for x in series(10, seed=3)], first=40)
    assert main(["detect", "test-results/slow/*.json", "--baselines", "test-results/baselines"]) == 4
    assert "regressed (warning)" in capsys.readouterr().out


def test_the_documents_two_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """``init-baselines || true; detect``: the first time the result is the baseline, later the old one stays."""
    (first,) = written(FOLDER, [100.0])
    assert main(["init-baselines"]) == 0
    assert main(["detect"]) == 0
    assert "it is the baseline itself" in capsys.readouterr().out
    kept = (FOLDER / "baselines/load.json").read_bytes()
    written(FOLDER, [101.0], first=1)
    assert main(["init-baselines"]) == 1
    assert "--force replaces it" in capsys.readouterr().err
    assert (FOLDER / "baselines/load.json").read_bytes() == kept
    assert main(["detect"]) == 0
    assert main(["detect", "--fail-on-inconclusive"]) == 5
    assert main(["detect", "--strict", str(first)]) == 5
    assert main(["init-baselines", "--force"]) == 0
    assert (FOLDER / "baselines/load.json").read_bytes() != kept


@pytest.mark.parametrize(("level", "code", "word"), [(180.0, 4, "REGRESSED"), (112.0, 0, "INCONCLUSIVE")])
def test_one_result_against_one_by_their_stretches(
    level: float, code: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    written(FOLDER, [100.0], stretches=series(10, seed=1))
    assert main(["init-baselines"]) == 0
    written(FOLDER, [level], first=1, stretches=series(10, seed=2, level=level))
    capsys.readouterr()
    assert main(["detect"]) == code
    out = capsys.readouterr().out
    assert word in out
    assert "processes are taken to differ by 5 %" in out


def test_both_folders_and_the_newest_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    written(FOLDER, [100.0, 101.0])
    (made,) = written(Path("benchmark_results"), [5.0], phase="latency")
    made.rename(made.with_name("latency_tier_latency_20261101_120000.json"))
    assert main(["init-baselines"]) == 0
    out = capsys.readouterr().out
    assert "load: 1 run," in out
    assert "benchmark_results/baselines/latency_tier_latency.json" in out
    assert json.loads((FOLDER / "baselines/load.json").read_bytes())["runs"][0]["id"] == "run-1"


def test_what_cannot_be_compared_is_exit_2_and_the_rest_is_judged(capsys: pytest.CaptureFixture[str]) -> None:
    baseline()
    written(FOLDER, series(3, seed=2), first=20)
    written(FOLDER, series(3, seed=2), first=30, phase="token")
    assert main(["detect", "test-results/*.json"]) == 2
    out, err = capsys.readouterr()
    assert "load   against" in out
    assert "there is no baseline test-results/baselines/token.json" in err


@pytest.mark.parametrize(
    ("change", "words"),
    [({"host": "other"}, "another host"), ({"unit": "s"}, "different units"), ({"duration_s": 9.0}, "configuration")],
)
def test_results_of_another_kind_are_refused(
    change: dict[str, object], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline()
    written(FOLDER, series(3, seed=2), first=20, **change)
    assert main(["detect", "test-results/*.json"]) == 2
    assert words in capsys.readouterr().err
    allowed = main(["detect", "test-results/*.json", "--allow-different-host"])
    assert allowed == (0 if "host" in change else 2)


def test_a_damaged_baseline_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    baseline()
    written(FOLDER, [100.0], first=20)
    (FOLDER / "baselines/load.json").write_text("{", encoding="utf-8")
    assert main(["detect"]) == 2
    assert "test-results/baselines/load.json is damaged" in capsys.readouterr().err


def test_patterns_that_stand_for_nothing_are_all_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detect", "a*.json", "b?.json"]) == 2
    err = capsys.readouterr().err
    assert "a*.json: no result file" in err
    assert "b?.json: no result file" in err
    assert main(["detect"]) == 2
    assert "there is no result in test-results or benchmark_results" in capsys.readouterr().err
    assert main(["detect", "missing.json"]) == 2
    assert "cannot read 'missing.json'" in capsys.readouterr().err


def test_every_form_of_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline()
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "page.md"))
    written(FOLDER, [1.2 * x for x in series(10, seed=2)], first=20)
    capsys.readouterr()
    arguments = ["detect", "test-results/*.json", "--json", "-", "--markdown", "m.md", "--junitxml", "j.xml"]
    assert main(arguments) == 4
    (told,) = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "regressed"
    assert Path("m.md").read_text(encoding="utf-8").strip() in (tmp_path / "page.md").read_text(encoding="utf-8")
    assert ElementTree.fromstring(Path("j.xml").read_bytes()).get("failures") == "1"
    assert main(["detect", "--json", "file"]) == 2
    assert main(["detect", "--junitxml", "no/such/folder.xml"]) == 2


def test_what_cannot_be_judged_is_a_case_of_the_junit_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detect", "nothing-here.json", "--junitxml", "j.xml"]) == 2
    said = capsys.readouterr().err.strip()
    root = ElementTree.fromstring(Path("j.xml").read_bytes())
    assert (root.get("tests"), root.get("errors"), root.get("failures")) == ("1", "1", "0")
    (case,) = root.iter("testcase")
    (error,) = case
    assert error.tag == "error"
    assert str(error.get("message")) in said
    assert "nothing-here.json" in str(error.get("message"))


def test_a_missing_baseline_is_one_too_and_a_good_one_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    baseline()
    written(FOLDER, series(10, seed=2), first=20)
    assert main(["detect", "test-results/*.json", "--junitxml", "j.xml"]) == 0
    judged = ElementTree.fromstring(Path("j.xml").read_bytes())
    assert (judged.get("errors"), judged.get("failures")) == ("0", "0")
    assert main(["detect", "test-results/*.json", "--baselines", "elsewhere", "--junitxml", "j.xml"]) == 2
    assert "elsewhere" in capsys.readouterr().err
    assert ElementTree.fromstring(Path("j.xml").read_bytes()).get("errors") == "1"


def test_a_page_that_cannot_be_written_changes_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline()
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    written(FOLDER, [1.2 * x for x in series(10, seed=2)], first=20)
    assert main(["detect", "test-results/*.json"]) == 4
    assert "GITHUB_STEP_SUMMARY" in capsys.readouterr().err


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Thirty runs before, as they were recorded."""
    file = tmp_path / "history.db"
    monkeypatch.setenv("PERFSUITE_HISTORY", str(file))
    with History(str(file)) as kept:
        for number, value in enumerate(series(30, seed=1)):
            kept.record(result(number, value), command=["load", "--raw=rows.csv"], folder=tmp_path)
    return file


def recorded(file: Path, number: int, value: float, folder: Path) -> str:
    """A run that ended just now: its file, and its row in the history."""
    with History(str(file)) as kept:
        kept.record(result(number, value), command=["load", "--raw=rows.csv"], folder=folder)
    (path,) = written(FOLDER, [value], first=number)
    return str(path)


def test_against_the_history(history: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    usual, unusual = recorded(history, 40, 100.0, tmp_path), recorded(history, 41, 115.0, tmp_path)
    assert main(["detect", "--against-history", usual]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"OK  load   against 30 runs in {history}")
    assert main(["detect", "--against-history", unusual]) == 0
    assert "suspicious, z" in capsys.readouterr().out
    assert main(["detect", "--against-history", unusual, "--strict"]) == 5


@pytest.mark.parametrize(("level", "code", "word", "runs"), [(115.0, 4, "REGRESSED", 5), (100.0, 0, "OK", 1)])
def test_fresh_runs_decide_a_suspicion(
    history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    level: float, code: int, word: str, runs: int,
) -> None:  # fmt: skip
    given: list[list[str]] = []
    values = series(20, seed=7, level=level)

    def measure(words: list[str], *, folder: Path, **more: object) -> object:
        assert folder == tmp_path
        given.append(list(words))
        return result(100 + len(given), values[len(given)])

    monkeypatch.setattr(fresh, "measure", measure)
    path = recorded(history, 41, 115.0, tmp_path)
    assert main(["detect", "--against-history", "--rerun", "16", path]) == code
    assert capsys.readouterr().out.startswith(word)
    assert given == [["load"]] * len(given)
    assert runs <= len(given) <= runs + 2
    with History(str(history)) as kept:
        assert len(kept.runs()) == 31  # fresh runs were made because one was bad: they are no part of what is usual


def turns(monkeypatch: pytest.MonkeyPatch, here: Path, before: float, now: float) -> list[Path]:
    """Fresh runs that are played: of the version before elsewhere, of the one in question ``here``; the folders."""
    folders: list[Path] = []
    values = {True: series(40, seed=7, level=now), False: series(40, seed=8, level=before)}

    def measure(words: list[str], *, folder: Path, **more: object) -> object:
        assert words == ["load"]
        folders.append(folder)
        return result(100 + len(folders), values[folder == here][len(folders) // 2])

    monkeypatch.setattr(fresh, "measure", measure)
    return folders


@pytest.mark.parametrize(("before", "code", "word"), [(100.0, 4, "REGRESSED"), (115.0, 0, "OK")])
def test_the_version_before_tells_a_change_from_a_bad_day(
    history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    before: float, code: int, word: str,
) -> None:  # fmt: skip
    """On a bad day both are slow; the history alone says that each is."""
    (tmp_path / "old").mkdir()
    folders = turns(monkeypatch, tmp_path, before, 115.0)
    path = recorded(history, 41, 115.0, tmp_path)
    assert main(["detect", "--against-history", "--base", "old", path]) == code
    out = capsys.readouterr().out
    assert out.startswith(word)
    assert "pairs with the version before: z" in out
    old, new = tmp_path / "old", tmp_path
    assert folders[:10] == [new] * 5 + [old, old, new, new, old]  # the first of the version before is thrown away
    assert folders.count(old) == folders.count(new) - 5 + 1


def test_without_the_version_before_its_verdict_says_how_to_have_it(
    history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    turns(monkeypatch, tmp_path, 100.0, 115.0)
    path = recorded(history, 41, 115.0, tmp_path)
    assert main(["detect", "--against-history", "--rerun", "16", path]) == 4
    assert f"--base {29:010x}"[:-10] in capsys.readouterr().out
    assert main(["detect", "--base", "old", path]) == 2
    assert "--base: for --against-history" in capsys.readouterr().err


def test_a_revision_is_laid_out_and_gone_afterwards(
    history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "app.py").write_text("x = 1\n", encoding="utf-8")
    git = ["git", "-C", str(project), "-c", "user.name=t", "-c", "user.email=t@localhost"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *words], check=True)
    folders = turns(monkeypatch, project, 100.0, 115.0)
    path = recorded(history, 41, 115.0, project)
    assert main(["detect", "--against-history", "--base", "HEAD", path]) == 4
    assert folders[5].name == "base-revision"
    assert not folders[5].exists()
    worktrees = subprocess.run([*git, "worktree", "list"], check=True, capture_output=True, text=True).stdout
    assert len(worktrees.splitlines()) == 1
    capsys.readouterr()
    assert main(["detect", "--against-history", "--base", "nothing", path]) == 0
    assert "base failed: --base nothing: neither a folder, a URL nor a revision" in capsys.readouterr().out


def test_a_service_is_held_beside_another_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here, before = "http://127.0.0.1:1", "http://127.0.0.1:2"

    def at(number: int, value: float, url: str = here) -> Result:
        one = result(number, value)
        return replace(one, run=replace(one.run, target=url, plan={**one.run.plan, "target": url}))

    file = tmp_path / "history.db"
    monkeypatch.setenv("PERFSUITE_HISTORY", str(file))
    with History(str(file)) as kept:
        for number, value in enumerate([*series(30, seed=1), 115.0]):
            kept.record(at(number, value), command=["load", f"--target={here}"], folder=tmp_path)
    asked: list[list[str]] = []

    def measure(words: list[str], **more: object) -> object:
        asked.append(list(words))
        slow = words[-1] == f"--target={here}"
        return at(100 + len(asked), series(90, seed=7, level=115.0 if slow else 100.0)[len(asked)], words[-1][9:])

    monkeypatch.setattr(fresh, "measure", measure)
    FOLDER.mkdir()
    (FOLDER / "results-20261201_000000.json").write_bytes(dump(at(30, 115.0)))
    assert main(["detect", "--against-history", "--base", before]) == 4
    assert asked[5] == ["load", f"--target={here}", f"--target={before}"]
    capsys.readouterr()
    (tmp_path / "old").mkdir()
    assert main(["detect", "--against-history", "--base", "old"]) == 0
    assert f"the target is a running service, {here}: name the URL of the version before" in capsys.readouterr().out


def test_fresh_runs_that_fail_are_said_to(
    history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(words: list[str], **more: object) -> object:
        raise fresh.RunFailed("target gone")

    monkeypatch.setattr(fresh, "measure", measure)
    path = recorded(history, 41, 115.0, tmp_path)
    assert main(["detect", "--against-history", "--rerun", "16", path]) == 0
    assert "a fresh run failed: target gone" in capsys.readouterr().out
    (alone,) = written(FOLDER, [115.0], first=50)
    assert main(["detect", "--against-history", "--rerun", "16", str(alone)]) == 0
    assert "does not know the command" in capsys.readouterr().out


def test_a_history_of_others_predicts_nothing(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = written(FOLDER, [300.0], first=60, host="elsewhere")
    assert main(["detect", "--against-history", str(path)]) == 0
    out = capsys.readouterr().out
    assert "the history has 0 earlier runs of load on this host and configuration" in out
    assert "30 runs of other hosts or configurations" in out


def test_flags_of_the_history_belong_together(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = map(str, written(FOLDER, [100.0], first=60))
    assert main(["detect", path, "--rerun", "3"]) == 2
    assert main(["detect", path, "--against-history", "--baselines", "b"]) == 2
    assert main(["detect", path, "--against-history", "--rerun", "some"]) == 2
    assert main(["detect", path, "--against-history", "--history", "off"]) == 2
    capsys.readouterr()
