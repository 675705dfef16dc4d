"""The benchmark of the indexes: it runs, and tells a look-up that falls short."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "indexes.py"
spec = importlib.util.spec_from_file_location("indexes", FILE)
assert spec is not None
assert spec.loader is not None
indexes: Any = importlib.util.module_from_spec(spec)
spec.loader.exec_module(indexes)


def test_a_table_for_a_database_and_what_falls_short(capsys: pytest.CaptureFixture[str]) -> None:
    phase = indexes.measure(None, 2000, 1, 0.5)
    indexes.LEAST = 0.0
    assert indexes.show("SQLite", phase) == []
    indexes.LEAST = 1e9
    assert len(indexes.show("SQLite", phase)) == 3
    assert "idx_messages_created_at" in capsys.readouterr().out
