"""What the README shows is run: its Python, its plan file, its commands' names, its pictures."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest
import yaml

from compilers import ROOT
from perfsuite.cli import main
from perfsuite.configuration import configure
from perfsuite.database.queries import Span, read_queries
from perfsuite.targets.template import load_template
from plugged import run

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The README's code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_python_runs() -> None:
    for code in (block for block in blocks("python") if "import pytest" not in block):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, "README.md", "exec"), {})
        assert "ms" in out.getvalue()


def test_the_tests_run(tmp_path: Path) -> None:
    (code,) = (block for block in blocks("python") if "import pytest" in block)
    pytest.importorskip("pytest_asyncio")
    ini = "asyncio_mode = auto\nasyncio_default_fixture_loop_scope = function"
    done = run(tmp_path, code, plugins=("asyncio", "perfsuite"), ini=ini)
    assert done.code == 0, done.out
    assert len(done.outcomes) == 3


def test_the_plan_file_is_one(tmp_path: Path) -> None:
    (text,) = (block for block in blocks("toml") if "[[phases]]" in block)
    path = tmp_path / "plan.toml"
    path.write_text(text, encoding="utf-8")
    plan = configure({"plan": str(path)}, folder=tmp_path, environment={})
    assert [phase.name for phase in plan.phases] == ["New Test Phase"]
    criteria = {one.metric: one for one in plan.phases[0].criteria}
    assert criteria["ttft"].target == 300.0
    assert criteria["ttft"].stat == "p95"
    assert not criteria["token_efficiency"].critical


def test_the_queries_are_read(tmp_path: Path) -> None:
    (text,) = (block for block in blocks("toml") if "[[queries]]" in block)
    path = tmp_path / "queries.toml"
    path.write_text(text, encoding="utf-8")
    (query,) = read_queries(path)
    assert query.parameters == {"customer": Span(1, 5000)}
    path.write_text(text.replace("# writes", "writes"), encoding="utf-8")
    assert read_queries(path)[0].writes


def test_the_template_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (text,) = (block for block in blocks("toml") if "[template]" in block)
    (tmp_path / "perfsuite.toml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert configure({}, folder=tmp_path, environment={}).target == "template:perfsuite.toml"
    template = load_template("perfsuite.toml")
    assert template.setup[0].capture["session_id"].text == "$.id"
    assert template.request.path == "/sessions/{session_id}/messages"
    assert template.headers == {"Authorization": "Bearer {env:CHAT_TOKEN}"}


def test_the_commands_exist(capsys: pytest.CaptureFixture[str]) -> None:
    names = set(re.findall(r"(?:-m perfsuite|perfsuite) (run|plan|tokens|report|schema|doctor|init|serve)\b", README))
    assert names >= {"run", "plan", "tokens"}
    for name in names:
        with contextlib.suppress(SystemExit):
            assert main([name, "--help"]) == 0
        assert "usage" in capsys.readouterr().out


def test_the_workflow_is_one_and_its_commands_take_their_flags(capsys: pytest.CaptureFixture[str]) -> None:
    (text,) = blocks("yaml")
    workflow = yaml.safe_load(text)
    assert set(workflow[True]) == {"push", "pull_request"}  # YAML 1.1 reads the key "on" as true
    steps = workflow["jobs"]["benchmark"]["steps"]
    assert steps[0]["with"]["fetch-depth"] == 0
    assert all("${{" not in step.get("run", "") for step in steps), "what an event says is text, not shell"
    commands = [line for step in steps for line in step.get("run", "").splitlines() if "-m perfsuite" in line]
    assert len(commands) == 2
    for command in commands:
        name, *words = command.split("-m perfsuite ")[1].split()
        assert main([name, "--help"]) == 0
        told = capsys.readouterr().out
        assert all(word in told for word in words if word.startswith("--")), command


def test_the_links_lead_somewhere() -> None:
    targets = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert "docs/dashboard.png" in targets
    assert [link for link in targets if not (ROOT / link).exists()] == []


def test_there_are_two_commands() -> None:
    assert len(re.findall(r"<!-- (?:run|test)-command -->\n```sh\n.+\n```", README)) == 2
