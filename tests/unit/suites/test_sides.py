"""The sides of a comparison: laid out, built, checked, and gone afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.suites.sides import Side, _has_requirements, _last, check_origin, laid_out

PROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "shop-under-test"
version = "1"
[tool.setuptools.packages.find]
where = ["lib"]
"""


def git(*words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *identity, *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two commits of a project whose module says which it is of."""
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    git("init", "-q", "-b", "main")
    for text in ("old", "new"):
        (folder / "shop.py").write_text(f"VERSION = {text!r}\n", encoding="utf-8")
        git("add", "-A")
        git("commit", "-q", "-m", text)
    return folder


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def version_in(side: Side, module: str = "shop") -> str:
    code = "import os, sys; os.getcwd() in sys.path or sys.path.insert(0, os.getcwd())\n"
    code += f"import {module}; print({module}.VERSION)"
    environment = {**os.environ, **dict(side.environment)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=side.folder, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_a_revision_is_laid_out_and_goes_away(repository: Path, scratch: Path) -> None:
    with laid_out("HEAD~1", "base", scratch) as base, laid_out(".", "head", scratch) as head:
        assert (base.kind, head.kind) == ("revision", "folder")
        assert base.commit == git("rev-parse", "HEAD~1").strip()
        assert (version_in(base), version_in(head)) == ("old", "new")
        assert len(git("worktree", "list").splitlines()) == 2
    assert len(git("worktree", "list").splitlines()) == 1
    assert list(scratch.iterdir()) == []
    assert git("status", "--porcelain") == ""


def test_it_goes_away_after_an_error_too(repository: Path, scratch: Path) -> None:
    with pytest.raises(RuntimeError), laid_out("HEAD", "base", scratch):
        raise RuntimeError
    assert len(git("worktree", "list").splitlines()) == 1


def test_hooks_of_the_repository_do_not_run(repository: Path, scratch: Path) -> None:
    hook = repository / ".git/hooks/post-checkout"
    hook.write_text("#!/bin/sh\ntouch hooked\n", encoding="utf-8")
    hook.chmod(0o755)
    with laid_out("HEAD", "base", scratch) as base:
        assert not (base.folder / "hooked").exists()


def test_the_folder_that_one_is_in_is_the_one_that_is_measured(
    repository: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "part").mkdir()
    (repository / "part/shop.py").write_text("VERSION = 'part'\n", encoding="utf-8")
    git("add", "-A")
    git("commit", "-q", "-m", "part")
    monkeypatch.chdir(repository / "part")
    with laid_out("HEAD", "base", scratch) as base:
        assert version_in(base) == "part"
    with pytest.raises(UsageError, match="has no folder part"), laid_out("HEAD~1", "base", scratch):
        pass
    assert len(git("worktree", "list").splitlines()) == 1


def test_a_revision_that_can_be_built_is_built(repository: Path, scratch: Path) -> None:
    """Its sources lie where nobody imports them from: only what was installed can answer."""
    (repository / "lib/store").mkdir(parents=True)
    (repository / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    for text in ("one", "two"):
        (repository / "lib/store/__init__.py").write_text(f"VERSION = {text!r}\n", encoding="utf-8")
        git("add", "-A")
        git("commit", "-q", "-m", text)
    with laid_out("HEAD~1", "base", scratch) as base, laid_out("HEAD", "head", scratch) as head:
        assert (version_in(base, "store"), version_in(head, "store")) == ("one", "two")
        assert version_in(head) == "new"  # what is not part of the package is there as well
        check_origin(base, "python:store:answer")
    with laid_out("HEAD", "head", scratch, build=False) as head, pytest.raises(subprocess.CalledProcessError):
        version_in(head, "store")


@pytest.mark.parametrize(
    ("requires", "here"),
    [
        (["setuptools"], True),
        (["setuptools>=1"], True),
        (["setuptools>=99999"], False),
        (["nothing-of-that-name"], False),
        (["nothing-of-that-name; python_version < '3'", "setuptools"], True),
        (["what is this"], False),
    ],
)
def test_a_build_is_isolated_unless_what_it_asks_for_is_here(tmp_path: Path, requires: list[str], here: bool) -> None:
    """A new environment of Python 3.11 has a setuptools, but an old one: to build with that fails."""
    (tmp_path / "pyproject.toml").write_text(f"[build-system]\nrequires = {json.dumps(requires)}\n", encoding="utf-8")
    assert _has_requirements(tmp_path) is here


def test_what_failed_is_told_by_what_it_calls_errors() -> None:
    """The last lines of pip are advice about pip."""
    pip = "  ValueError: project.license is wrong\n  [end of output]\nerror: failed\n\nnote: not pip.\nhint: above.\n"
    assert _last(subprocess.CompletedProcess([], 1, "", pip)) == "ValueError: project.license is wrong; error: failed"
    assert _last(subprocess.CompletedProcess([], 1, "", "one\n\ntwo\n")) == "one; two"
    assert _last(subprocess.CompletedProcess([], 3, "", "")) == "exit status 3"


def test_what_cannot_be_built_says_so(repository: Path, scratch: Path) -> None:
    (repository / "setup.py").write_text("raise SystemExit('no compiler today')\n", encoding="utf-8")
    git("add", "-A")
    git("commit", "-q", "-m", "broken")
    with pytest.raises(PerfsuiteError, match=r"cannot be built: .*--no-build"), laid_out("HEAD", "base", scratch):
        pass
    assert len(git("worktree", "list").splitlines()) == 1


def test_sources_come_before_what_is_installed(tmp_path: Path, scratch: Path) -> None:
    folder = tmp_path / "project"
    (folder / "src").mkdir(parents=True)
    (folder / "src/shop.py").write_text("VERSION = 'src'\n", encoding="utf-8")
    with laid_out(str(folder), "base", scratch) as base:
        assert version_in(base) == "src"


def test_a_module_of_somewhere_else_is_refused(
    repository: Path, tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "installed_shop.py").write_text("VERSION = 'other'\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(elsewhere))
    with laid_out("HEAD", "base", scratch) as base:
        check_origin(base, "python:shop:answer")
        check_origin(base, "python:not_there_at_all:answer")  # the run itself says that, and better
        with pytest.raises(UsageError, match=r"is imported from .*elsewhere.*, not from"):
            check_origin(base, "python:installed_shop:answer")


def test_a_url_needs_nothing(scratch: Path) -> None:
    with laid_out("http://127.0.0.1:1", "base", scratch) as base:
        assert base.words == ("--target=http://127.0.0.1:1",)
        check_origin(base, "http://127.0.0.1:1")


@pytest.mark.parametrize("name", ["nothing", "--upload-pack=x", "HEAD:shop.py", "-x"])
def test_what_is_no_revision_is_refused(repository: Path, scratch: Path, name: str) -> None:
    with pytest.raises(UsageError, match="neither a folder, a URL nor a revision"), laid_out(name, "base", scratch):
        pass


def test_outside_of_a_repository(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(UsageError, match="no git repository"), laid_out("main", "base", scratch):
        pass
