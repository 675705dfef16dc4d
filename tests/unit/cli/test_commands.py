"""plan, schema, report, doctor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import runs_made
from perfsuite.cli import doctor, main
from perfsuite.result import dump
from played import a_result

ROLES = ("user", "assistant")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_plan_shows_lengths_criteria_and_where_everything_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "perfsuite.toml").write_text("concurrency = 3\n[threshold]\nload.error_rate = '2%'\n")
    monkeypatch.setenv("PERFSUITE_RATE", "7")
    assert main(["plan", "load", "token", "--seed", "5", "-t", "ttft.p99<500ms"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "target reference, profile quick, seed 5, 30 s of measuring"
    assert "load: Load, 20 s (documented: 4 h)" in lines
    assert "token: Token management, 10 s (documented: 2 h)" in lines

    def words(start: str) -> list[str]:
        (line,) = [line for line in lines if line.split()[: len(start.split())] == start.split()]
        return line.split()[len(start.split()) :]

    assert words("error_rate") == ["<", "2", "%", "perfsuite.toml"]
    assert words("ttft p99") == ["<", "500", "ms", "--threshold"]
    assert words("response_time p95") == ["<", "5", "s", "built-in"]
    assert words("concurrency") == ["3", "perfsuite.toml"]
    assert words("rate") == ["7", "PERFSUITE_RATE"]
    assert words("seed") == ["5", "--seed"]
    assert words("timeout") == ["-", "built-in"]
    assert words("request_timeout") == ["60", "s", "built-in"]
    assert not any(line.startswith("baseline") for line in lines)


def test_plan_names_beforehand_what_its_length_cannot_decide(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "load"]) == 0
    short = capsys.readouterr().out
    assert "this run cannot decide it: " in short
    assert main(["plan", "load", "--profile", "full"]) == 0
    assert "this run cannot decide it: " not in capsys.readouterr().out


def test_plan_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--json", "-m", "ttft"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert [phase["metrics"] for phase in made["phases"]] == [["ttft"]] * 3
    assert {"name": "metrics", "value": ["ttft"], "origin": "--metrics"} in made["settings"]
    assert isinstance(made["undecidable"], list)


def test_a_plan_that_cannot_run_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "lod"]) == 2
    assert "did you mean load" in capsys.readouterr().err


def test_schema_describes_results(capsys: pytest.CaptureFixture[str]) -> None:
    import jsonschema

    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.validate(json.loads(dump(a_result())), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"schema_version": 1, "run": {}}, schema)


def test_report_renders_beside_the_result_or_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/results-T.json").write_bytes(dump(a_result()))
    assert main(["report", "there/results-T.json"]) == 0
    out = capsys.readouterr().out
    assert "PASSED" in out
    assert out.splitlines()[-2:] == ["there/report-T.md", "there/metrics-T.html"]
    first = (tmp_path / "there/report-T.md").read_bytes()
    assert main(["report", "there/results-T.json", "-o", "deep/er", "-f", "md"]) == 0
    assert capsys.readouterr().out == "deep/er/report-T.md\n"
    assert (tmp_path / "deep/er/report-T.md").read_bytes() == first
    assert main(["report", "there/results-T.json"]) == 0
    assert len(list((tmp_path / "there").iterdir())) == 3


def test_report_sets_past_runs_and_an_earlier_result_beside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = runs_made.written(tmp_path, [100.0, 140.0])
    assert main(["history", "add", str(first), "--history", str(tmp_path / "h.db")]) == 0
    page = tmp_path / f"metrics-{second.stem.removeprefix('results-')}.html"
    asked = ["report", str(second), "-f", "html", "--against", str(first), "--history", str(tmp_path / "h.db")]
    assert main(asked) == 0
    text = page.read_text(encoding="utf-8")
    assert "Run run-0 of reference" in text
    assert "response_time p50 over 2 runs" in text
    assert main(["report", str(second), "-f", "html"]) == 0
    assert "Against an earlier run" not in page.read_text(encoding="utf-8")
    (other,) = runs_made.written(tmp_path / "other", [100.0], host="elsewhere", cpu="Another CPU")
    capsys.readouterr()
    assert main(["report", str(second), "-f", "html", "--against", str(other)]) == 2
    assert "--allow-different-host" in capsys.readouterr().err
    assert main(["report", str(second), "-f", "html", "--against", str(other), "--allow-different-host"]) == 0


def test_report_of_a_partial_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "results-T.partial.json").write_bytes(dump(a_result("interrupted", 130)))
    assert main(["report", "results-T.partial.json", "-f", "md"]) == 0
    assert (tmp_path / "report-T.md").exists()


def test_report_renders_what_it_can_and_names_what_it_cannot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = dump(a_result())
    (tmp_path / "results-good.json").write_bytes(good)
    (tmp_path / "cut.json").write_bytes(good[:-40])
    (tmp_path / "other.json").write_bytes(b"[1, 2]")
    (tmp_path / "binary.json").write_bytes(bytes(range(256)))
    files = ["cut.json", "other.json", "binary.json", "results-good.json", "none.json", "."]
    assert main(["report", *files, "-f", "md"]) == 2
    out, err = capsys.readouterr()
    assert out == "report-good.md\n"
    assert err.splitlines()[0] == "perfsuite: 5 mistakes"
    assert len(err.splitlines()) == 6
    assert main(["report", "results-good.json", "-o", "cut.json"]) == 2
    assert "is a file" in capsys.readouterr().err


def test_doctor_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for name in ("python", "perfsuite", "msgspec", "[codecs]", "C compiler", "full-text search", "clock", "open files"):
        assert f" {name} " in out
    assert main(["doctor", "--json"]) == 0
    assert {"ok"} <= {finding["state"] for finding in json.loads(capsys.readouterr().out)}


def test_doctor_says_what_is_missing_and_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "_version", lambda package: None if package in ("psutil", "lz4") else "1.0")
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    (missing,) = [index for index, line in enumerate(lines) if line.startswith("missing")]
    assert lines[missing].split()[1] == "psutil"
    assert lines[missing + 1].endswith("-m pip install psutil")
    (absent,) = [index for index, line in enumerate(lines) if "[codecs]" in line]
    assert "no lz4" in lines[absent]
    assert lines[absent + 1].endswith("-m pip install lz4")


def test_doctor_says_which_memory_systems_can_run_and_how_to_get_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from perfsuite.memory import environments, registry

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    own = registry.Known("own", "own:Own", needs=("nowhere",), own_environment=True, note="a test")
    (lexical,) = (one for one in registry.BUILT_IN if one.name == "fts5")
    monkeypatch.setattr(registry, "BUILT_IN", (lexical, own))
    found = {finding.name: finding for finding in doctor.findings()}
    assert found["memory:fts5"].state == "ok"
    assert found["memory:own"].state == "absent"
    assert found["memory:own"].remedy == "perfsuite compare --setup own"
    monkeypatch.setattr(environments, "python_of", lambda system: tmp_path / "python")
    found = {finding.name: finding for finding in doctor.findings()}
    assert found["memory:own"].state == "ok"
    assert str(tmp_path) in found["memory:own"].value


def test_a_hosted_service_without_its_key_is_unverified(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from perfsuite.memory import environments

    monkeypatch.delenv("ZEP_API_KEY", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = {finding.name: finding for finding in doctor.findings()}
    assert found["memory:zep-cloud"].remedy == "perfsuite compare --setup zep-cloud"
    monkeypatch.setattr(environments, "python_of", lambda system: tmp_path / "python")
    found = {finding.name: finding for finding in doctor.findings()}
    assert found["memory:zep-cloud"][:1] + found["memory:zep-cloud"][2:] == (
        "absent", "unverified: no ZEP_API_KEY", "export ZEP_API_KEY=…",
    )  # fmt: skip
    monkeypatch.setenv("ZEP_API_KEY", "key")
    found = {finding.name: finding for finding in doctor.findings()}
    assert found["memory:zep-cloud"].state == "ok"


def test_a_check_of_the_doctors_that_fails_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise OSError("hidden")

    monkeypatch.setattr("resource.getrlimit", lambda _: broken())
    found = {finding.name: finding for finding in doctor.findings()}
    assert found["files"].value == "could not be looked at: hidden"
    assert "processor" in found


def test_tokens_counts_what_it_can_use_and_names_what_it_cannot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    turns = [{"role": role, "content": f"{role} says a few words in turn {n}"} for n in range(9) for role in ROLES]
    (tmp_path / "good.jsonl").write_text(json.dumps({"messages": turns}) + "\n" + "nonsense\n" * 7)
    (tmp_path / "bad.jsonl").write_text("")
    assert main(["tokens", "good.jsonl"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("conversations: 1, messages: 18, turns: 9; ")
    assert [line.partition(": ")[0] for line in err.splitlines()] == [
        *(f"good.jsonl:{n}" for n in range(2, 7)),
        "good.jsonl",
    ]
    assert "and 2 more" in err
    assert main(["tokens", "bad.jsonl", "good.jsonl", "--json", "-v", "-w", "50"]) == 2
    out, err = capsys.readouterr()
    made = json.loads(out)
    assert made["conversations"] == 1
    assert 0 < made["stored"] < made["sent"]
    assert [saving["setting"] for saving in made["savings"] if "window" in saving["setting"]] == [
        "a window of 50 tokens"
    ]
    assert err.count("good.jsonl:") == 7
    assert err.splitlines()[-1].startswith("perfsuite: bad.jsonl is empty")
