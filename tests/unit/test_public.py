"""``import perfsuite``: what it offers, what it loads."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import perfsuite
from perfsuite import api
from perfsuite.errors import UsageError


@pytest.mark.parametrize("name", perfsuite.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(perfsuite, name) is not None
    assert name in dir(perfsuite)


def test_no_submodule_takes_the_place_of_a_public_name() -> None:
    # Importing perfsuite.x binds the module to the package's attribute x: a function of that name would be gone.
    package = Path(perfsuite.__file__).parent
    modules = {path.stem for path in package.glob("*.py")} | {
        path.parent.name for path in package.glob("*/__init__.py")
    }
    shadowed = {name for name in modules & set(perfsuite.LAZY) if perfsuite.LAZY[name] != f"perfsuite.{name}"}
    assert shadowed == set()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        perfsuite.nonsense  # noqa: B018
    assert not hasattr(perfsuite, "nonsense")


def test_import_loads_the_standard_library_and_core_only() -> None:
    code = "import sys; before = set(sys.modules); import perfsuite; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-c",
            f"import sys; sys.path.insert(0, {str(Path(perfsuite.__file__).parents[1])!r}); {code}",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ},
    )
    loaded = set(done.stdout.split())
    assert {name for name in loaded if name.startswith("perfsuite")} <= {"perfsuite", "perfsuite._core"}
    assert {name.partition(".")[0] for name in loaded} <= sys.stdlib_module_names | {"perfsuite"}
    assert not loaded & {"dataclasses", "asyncio", "typing", "inspect"}


def test_run_is_for_outside_a_loop_and_arun_for_inside() -> None:
    async def inside() -> None:
        with pytest.raises(UsageError, match="await"):
            perfsuite.run()

    asyncio.run(inside())
    with pytest.raises(UsageError, match="unknown setting 'durration'; did you mean duration"):
        perfsuite.run(durration=5)
    with pytest.raises(UsageError, match="rate=: 'x' is not a rate"):
        asyncio.run(perfsuite.arun("load", rate="x"))
    assert list(inspect.signature(api.run).parameters) == ["names", "target", "settings"]


def test_load_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.json"):
        perfsuite.load(tmp_path / "none.json")
