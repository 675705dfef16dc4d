"""The history: every run in a database, by SQLAlchemy; a local SQLite file unless a URL names another.

Three tables: runs (host, versions, commit, command), their phases (and the configuration that each was measured under),
their figures.  What is compared later is always of one host, one configuration and one unit.

Two runs that end at the same moment both get in: SQLite in write-ahead mode, every write one transaction that takes the
lock at its beginning and waits for it (``database``).  A history that is locked for longer, full or damaged raises
HistoryError and takes nothing else along: the run's own files are written before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from perfsuite.analysis.comparable import Figure, Host, Measured, conditions, figures, host_of, key_of
from perfsuite.analysis.judging import RunFigures
from perfsuite.errors import PerfsuiteError
from perfsuite.history.baselines import moment
from perfsuite.history.database import Database, HistoryError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from perfsuite.result import Result
    from perfsuite.values import Place

SCHEMA_VERSION = 1


def history_at(place: Place | None) -> History | None:
    """The history that a setting names: the user's own where it names none, None where it is off.  Raises UsageError,
    as History does."""
    if place is not None and place.off:
        return None
    return History(None if place is None else place.reveal())


def remember(result: Result, place: Place | None, command: Sequence[str] = ()) -> str | None:
    """Puts a run into the history at ``place``, unless that is off or nothing was measured; why that failed, or None.
    A history is for later: what the run found, its files and its exit code stay as they are."""
    try:
        history = history_at(place) if result.phases else None
        if history is not None:
            with history:
                history.record(result, command=command, folder=Path.cwd())
    except PerfsuiteError as error:
        return f"this run is not in the history: {error}"
    return None


class Past(NamedTuple):
    """A run as the history knows it; ``benchmarks``: its phases and their verdicts."""

    id: str
    started: str
    target: str
    profile: str
    verdict: str
    host: Host
    python: str
    perfsuite: str
    commit: str | None
    command: tuple[str, ...]
    folder: str
    benchmarks: dict[str, str]


class Group(NamedTuple):
    """Runs of a benchmark that may be compared: of one host and configuration; how many there are, and the newest."""

    benchmark: str
    host_key: str
    host: Host
    configuration_key: str
    configuration: dict[str, Any]
    runs: int
    newest: str


def host_key(host: Host) -> str:
    """The same for the same machine, whatever its kernel's release and the memory that it kept for itself."""
    return key_of(
        {
            "host": host.host,
            "cpu": host.cpu,
            "cores": host.cores,
            "os": host.os.partition(" ")[0],
            "gib": round(host.memory_bytes / 2**30),
        }
    )


class History:
    """An open history; a context manager."""

    def __init__(self, url: str | None = None) -> None:
        """``url``: an SQLAlchemy URL, or the path of an SQLite file; None: ``default_place()``.  Nothing is made until
        something is recorded.  Raises UsageError for what is no URL, and where a driver is missing."""
        from perfsuite.history.tables import tables

        self._database = Database(url)
        self._tables = tables()
        self._ready = False

    @property
    def name(self) -> str:
        """What messages call it: its file, or its URL without the password."""
        return self._database.name

    @property
    def exists(self) -> bool:
        """Whether there is something to read; a server's database is taken to be there."""
        return self._database.exists

    def __enter__(self) -> History:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections."""
        self._database.close()

    def record(self, result: Result, *, command: Sequence[str] = (), folder: Path | None = None) -> bool:
        """Adds a run with its figures; False when it is there already.  ``command`` and ``folder``: what made it, and
        where, so that it can be made again.  Raises HistoryError."""
        with self._writing() as connection:
            runs = self._tables.runs
            known = connection.execute(runs.select().where(runs.c.run_id == result.run.id)).first()
            if known is not None:
                return False
            made = connection.execute(runs.insert().values(**_row(result, command, folder)))
            assert made.inserted_primary_key is not None
            for phase in result.phases:
                asked = conditions(result, phase.name)
                inserted = connection.execute(
                    self._tables.phases.insert().values(
                        run=made.inserted_primary_key[0],
                        name=phase.name,
                        verdict=phase.verdict,
                        duration_s=phase.duration_s,
                        configuration_key=key_of(asked),
                        configuration=_json(asked),
                    )
                )
                assert inserted.inserted_primary_key is not None
                rows = [
                    {
                        "phase": inserted.inserted_primary_key[0],
                        "metric": one.figure.metric,
                        "stat": one.figure.stat,
                        "unit": one.figure.unit,
                        "better": one.figure.better,
                        "gates": one.figure.gates,
                        "value": one.value,
                    }
                    for one in figures(phase).values()
                ]
                if rows:
                    connection.execute(self._tables.figures.insert(), rows)
            return True

    def runs(self, limit: int | None = None) -> list[Past]:
        """The runs, the newest first."""
        table, phases = self._tables.runs, self._tables.phases
        with self._reading() as connection:
            found = connection.execute(table.select().order_by(table.c.started_s.desc()).limit(limit)).mappings().all()
            named: dict[int, dict[str, str]] = {}
            ids = [row["id"] for row in found]
            for start in range(0, len(ids), 500):  # within what SQLite takes of variables
                some = phases.select().where(phases.c.run.in_(ids[start : start + 500])).order_by(phases.c.id)
                for row in connection.execute(some).mappings():
                    named.setdefault(row["run"], {})[row["name"]] = row["verdict"]
        return [_past(row, named.get(row["id"], {})) for row in found]

    def groups(self) -> list[Group]:
        """What may be compared with what, the newest first."""
        import sqlalchemy as sa

        runs, phases = self._tables.runs, self._tables.phases
        newest, count = sa.func.max(runs.c.started_s), sa.func.count()
        last = sa.func.max(phases.c.id)
        query = (
            sa.select(phases.c.name, runs.c.host_key, phases.c.configuration_key, count, newest, last)
            .join(runs, phases.c.run == runs.c.id)
            .group_by(phases.c.name, runs.c.host_key, phases.c.configuration_key)
            .order_by(newest.desc(), phases.c.name)
        )
        groups = []
        with self._reading() as connection:
            for name, host, configuration, number, _, example in connection.execute(query).all():
                one = (
                    connection.execute(
                        sa.select(runs, phases.c.configuration)
                        .join(phases, phases.c.run == runs.c.id)
                        .where(phases.c.id == example)
                    )
                    .mappings()
                    .one()
                )
                asked = msgspec.json.decode(one["configuration"], type=dict[str, Any])
                groups.append(Group(name, host, _host(one), configuration, asked, number, one["started"]))
        return groups

    def series(
        self, benchmark: str, host: str, configuration: str, *, before: float | None = None, limit: int = 200
    ) -> list[RunFigures]:
        """The newest runs of one group, oldest first; ``before``: only those that began before (seconds)."""
        import sqlalchemy as sa

        runs, phases, table = self._tables.runs, self._tables.phases, self._tables.figures
        chosen = (
            sa.select(phases.c.id, runs.c.run_id, runs.c.started)
            .join(runs, phases.c.run == runs.c.id)
            .where(
                phases.c.name == benchmark, runs.c.host_key == host, phases.c.configuration_key == configuration,
                phases.c.verdict != "interrupted",
            )
            .order_by(runs.c.started_s.desc())
            .limit(limit)
        )  # fmt: skip
        if before is not None:
            chosen = chosen.where(runs.c.started_s < before)
        with self._reading() as connection:
            found = connection.execute(chosen).all()
            values: dict[int, dict[str, Measured]] = {row.id: {} for row in found}
            ids = list(values)
            for start in range(0, len(ids), 500):
                some = table.select().where(table.c.phase.in_(ids[start : start + 500]))
                for row in connection.execute(some).mappings():
                    figure = _figure(benchmark, row)
                    values[row["phase"]][figure.key] = Measured(figure, row["value"])
        return [RunFigures(row.run_id, row.started, values[row.id]) for row in reversed(found)]

    def export(self) -> Iterator[dict[str, Any]]:
        """Every figure of every run, as flat rows, oldest first."""
        import sqlalchemy as sa

        runs, phases, table = self._tables.runs, self._tables.phases, self._tables.figures
        query = (
            sa.select(
                runs.c.run_id, runs.c.started, runs.c.host, runs.c.host_key, runs.c.commit_id, runs.c.perfsuite,
                runs.c.python, runs.c.target, runs.c.profile, phases.c.name.label("benchmark"), phases.c.verdict,
                phases.c.configuration_key, table.c.metric, table.c.stat, table.c.unit, table.c.better, table.c.value,
            )
            .join(phases, phases.c.run == runs.c.id)
            .join(table, table.c.phase == phases.c.id)
            .order_by(runs.c.started_s, phases.c.id, table.c.id)
        )  # fmt: skip
        with self._reading() as connection:
            for row in connection.execution_options(stream_results=True).execute(query).mappings():
                yield dict(row)

    def run_of(self, run_id: str) -> Past | None:
        """A run by its id."""
        runs = self._tables.runs
        with self._reading() as connection:
            row = connection.execute(runs.select().where(runs.c.run_id == run_id)).mappings().first()
        return None if row is None else _past(row, {})

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with self._database.writing() as connection:
            self._make_tables(connection)
            yield connection

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with self._database.reading() as connection:
            self._check_version(connection)
            yield connection

    def _make_tables(self, connection: sa.Connection) -> None:
        if self._ready:
            return
        import sqlalchemy as sa

        meta = self._tables.meta
        if sa.inspect(connection).has_table(meta.name):
            self._check_version(connection)
        else:
            if self._database.file is not None and sa.inspect(connection).get_table_names():
                # A server's database is shared by many; a file with another program's tables was named by mistake.
                raise HistoryError(
                    f"{self.name} is a database, but no history of perfsuite's: it is left as it is; name another with "
                    "--history"
                )
            meta.metadata.create_all(connection)
            connection.execute(meta.insert().values(name="schema_version", value=str(SCHEMA_VERSION)))
        self._ready = True

    def _check_version(self, connection: sa.Connection) -> None:
        meta = self._tables.meta
        row = connection.execute(meta.select().where(meta.c.name == "schema_version")).first()
        version = row.value if row is not None else "none"
        if version != str(SCHEMA_VERSION):
            raise HistoryError(
                f"the history {self.name} has schema version {version}, this perfsuite reads {SCHEMA_VERSION}: use the "
                "perfsuite that made it, or name another history"
            )


def _row(result: Result, command: Sequence[str], folder: Path | None) -> dict[str, Any]:
    run, here = result.run, result.environment
    host = host_of(here)
    return {
        "run_id": run.id,
        "started": run.started,
        "started_s": moment(run.started),
        "ended": run.ended,
        "target": run.target,
        "profile": run.profile,
        "seed": str(run.seed),
        "verdict": run.verdict,
        "exit_code": run.exit_code,
        "host_key": host_key(host),
        **msgspec.structs.asdict(host),
        "python": here.python,
        "perfsuite": here.perfsuite,
        "commit_id": here.commit,
        "packages": _json(here.packages),
        "command": _json(list(command)),
        "folder": str(folder) if folder is not None else "",
    }


def _past(row: Mapping[Any, Any], benchmarks: dict[str, str]) -> Past:
    return Past(
        id=row["run_id"],
        started=row["started"],
        target=row["target"],
        profile=row["profile"],
        verdict=row["verdict"],
        host=_host(row),
        python=row["python"],
        perfsuite=row["perfsuite"],
        commit=row["commit_id"],
        command=tuple(msgspec.json.decode(row["command"], type=list[str])),
        folder=row["folder"],
        benchmarks=benchmarks,
    )


def _host(row: Mapping[Any, Any]) -> Host:
    names: Iterable[str] = Host.__struct_fields__
    return Host(**{name: row[name] for name in names})


def _figure(benchmark: str, row: Mapping[Any, Any]) -> Figure:
    return Figure(
        phase=benchmark,
        metric=row["metric"],
        stat=row["stat"],
        unit=row["unit"],
        better=row["better"],
        gates=bool(row["gates"]),
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value, order="sorted", enc_hook=str).decode("utf-8", "replace")
