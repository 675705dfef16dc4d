"""Environments for memory systems: made once, whole or not at all, from wheels on the disk."""

from __future__ import annotations

import multiprocessing
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.memory import environments, registry
from perfsuite.memory.registry import Known

HERE = sys.version_info[:2]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "perfsuite" / "environments"


@pytest.fixture
def tiny(tmp_path: Path) -> Known:
    """A system whose one requirement is a wheel on the disk."""
    wheel = tmp_path / "tinymemory-1.0-py3-none-any.whl"
    about = "tinymemory-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("tinymemory.py", "there = True\n")
        file.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: tinymemory\nVersion: 1.0\n")
        file.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{about}/RECORD", f"tinymemory.py,,\n{about}/METADATA,,\n{about}/WHEEL,,\n{about}/RECORD,,\n")
    needs = (f"tinymemory @ {wheel.as_uri()}",)
    return Known("tiny", "tiny:Tiny", needs=needs, imports=("tinymemory",), python=HERE, newest_python=HERE)


def make(system: Known) -> Path:
    return environments.make(system)


def test_an_environment_has_what_the_system_needs_and_is_made_once(tiny: Known, cache: Path) -> None:
    assert environments.python_of(tiny) is None
    python = environments.make(tiny)
    assert python.is_relative_to(cache)
    assert subprocess.check_output([python, "-c", "import tinymemory; print(tinymemory.there)"], text=True) == "True\n"
    assert environments.python_of(tiny) == python
    made = (python.parents[1] / environments.WHOLE).stat().st_mtime_ns
    assert environments.make(replace(tiny, name="another")) == python, "systems of the same needs share one"
    assert (python.parents[1] / environments.WHOLE).stat().st_mtime_ns == made
    assert environments.python_of(replace(tiny, needs=(*tiny.needs, "more"))) is None

    # half made
    (python.parents[1] / environments.WHOLE).unlink()
    (python.parents[1] / "left over").touch()
    assert environments.python_of(tiny) is None
    assert environments.make(tiny) == python, "it is made anew"
    assert not (python.parents[1] / "left over").exists()


def test_what_is_under_way_is_told(tiny: Known, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said: list[str] = []
    environments.make(tiny, said.append)
    assert "making" in said[0]
    assert said[1] == f"installing {tiny.needs[0]} for tiny"

    monkeypatch.setattr(environments, "EVERY_S", 0.05)
    go, told = tmp_path / "go", []

    def tell(text: str) -> None:
        told.append(text)
        if "Collecting torch" in text:
            go.touch()

    script = "import os, sys, time\nprint('Collecting torch', flush=True)\n"
    script += f"while not os.path.exists({str(go)!r}): time.sleep(0.01)\n"
    script += "print('ERROR: the wheel is round')\nprint('look for another one')\nsys.exit(3)"
    with pytest.raises(PerfsuiteError, match="installing it failed: ERROR: the wheel is round"):
        environments._watched([sys.executable, "-c", script], "installing it", tell)
    assert told[0] == "installing it"
    assert re.fullmatch(r"installing it, for \d+ s: Collecting torch", told[-1])


def test_an_installation_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "EVERY_S", 0.05)
    monkeypatch.setattr(environments, "LONGEST_INSTALL_S", 0.2)
    with pytest.raises(PerfsuiteError, match=r"installing it took longer than 0\.2 s and was ended"):
        environments._watched([sys.executable, "-c", "import time; time.sleep(600)"], "installing it", print)


def test_two_processes_that_want_the_same_make_it_one_after_the_other(tiny: Known) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        first, second = pool.map(make, [tiny, tiny])
    assert first == second
    assert environments.python_of(tiny) == first


def test_what_cannot_be_installed_is_told_and_leaves_nothing(tiny: Known, cache: Path, tmp_path: Path) -> None:
    broken = replace(tiny, needs=(f"gone @ {(tmp_path / 'gone-1.0-py3-none-any.whl').as_uri()}",))
    with pytest.raises(PerfsuiteError, match=r"installing gone @ .* for tiny failed"):
        environments.make(broken)
    assert environments.python_of(broken) is None
    assert [one.name for one in cache.iterdir() if one.is_dir()] == []


def test_a_python_that_is_not_here_is_asked_for_in_words(tiny: Known) -> None:
    with pytest.raises(
        UsageError, match=r"tiny needs Python 3\.98 or newer, with venv; none of these is one: .*python"
    ):
        environments.base_for(replace(tiny, python=(3, 98), newest_python=Known.ANY))


def test_a_python_with_all_features_is_taken_before_this_one(tiny: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    this, full = environments.Base(Path("this"), (3, 11), False), environments.Base(Path("full"), (3, 12), True)
    monkeypatch.setattr(environments, "_bases", lambda: iter([this, full]))
    anywhere = replace(tiny, python=(3, 11), newest_python=Known.ANY)
    assert environments.base_for(anywhere) == this
    assert environments.base_for(replace(anywhere, full_python=(3, 12))) == full
    assert environments.base_for(replace(anywhere, extensions_help=True)) == full
    assert environments.base_for(replace(anywhere, loadable_extensions=True)) == full
    assert environments.base_for(replace(anywhere, full_python=(3, 13))) == this, "it runs there all the same"
    with pytest.raises(UsageError, match="loads extensions"):
        environments.base_for(replace(anywhere, loadable_extensions=True, newest_python=(3, 11)))


@pytest.mark.parametrize("name", [one.name for one in registry.BUILT_IN])
def test_every_known_system_has_its_class_and_says_what_it_lacks(name: str) -> None:
    system = registry.find(name)
    module, _, attribute = system.factory.partition(":")
    made = getattr(__import__(module, fromlist=[attribute]), attribute)
    for method in ("info", "initialize", "store", "flush", "recall", "reset", "close"):
        assert callable(getattr(made, method)), f"{name} has no {method}"
    lacking = registry.missing(name)
    assert registry.shares_this_environment(system) or (lacking is not None and f"--setup {name}" in lacking)


def test_a_folder_of_the_name_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tinymemory").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    system = Known("tiny", "tiny:Tiny", needs=("tinymemory",), imports=("tinymemory",))
    assert not registry.shares_this_environment(system)
    (tmp_path / "tinymemory" / "__init__.py").touch()
    assert registry.shares_this_environment(system)
