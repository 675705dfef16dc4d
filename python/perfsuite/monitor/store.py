"""What a monitor keeps: what was folded by second, minute and hour, and its alarms, in an SQLite file of bounded size.

Each request that ended is in one row of each level, whose histograms merge exactly; a level keeps what it has for its
own time, so a year is a few thousand rows.  What is written is whole or not there: a monitor that is killed has lost
what came since the last write, and nothing else.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from perfsuite._core import Histogram
from perfsuite.analysis.alarms import Alarm, Span
from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.history.database import Database

if TYPE_CHECKING:
    import sqlalchemy as sa

SECOND, MINUTE, HOUR = 1, 60, 3600
KEPT_S = {SECOND: 3600.0, MINUTE: 7 * 86400.0, HOUR: 400 * 86400.0}
"""How long each level is kept."""
TIMES = ("response_time", "ttft")
PRECISION = 7
MOST_ALARMS = 1000
LEAST_BYTES = 1 << 20


class Tables(NamedTuple):
    """All of them."""

    meta: sa.Table
    spans: sa.Table
    alarms: sa.Table


@cache
def tables() -> Tables:
    """``start_s`` and ``level`` are seconds, ``errors`` counts by kind as JSON."""
    import sqlalchemy as sa

    kept = sa.MetaData()
    meta = sa.Table(
        "perfsuite_monitor",
        kept,
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    spans = sa.Table(
        "perfsuite_monitor_spans",
        kept,
        sa.Column("level", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("start_s", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("ok", sa.Integer, nullable=False),
        sa.Column("failed", sa.Integer, nullable=False),
        sa.Column("errors", sa.Text, nullable=False),
        *(sa.Column(name, sa.LargeBinary) for name in TIMES),
    )
    alarms = sa.Table(
        "perfsuite_monitor_alarms",
        kept,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("since_s", sa.Float, nullable=False),
        sa.Column("resolved_s", sa.Float),
        sa.Column("text", sa.Text, nullable=False),
    )
    return Tables(meta, spans, alarms)


class Fold:
    """What ended in one span of time, to be added to what is there."""

    __slots__ = ("errors", "failed", "ok", "times")

    def __init__(self) -> None:
        self.ok = 0
        self.failed = 0
        self.errors: dict[str, int] = {}
        self.times = {name: Histogram(PRECISION) for name in TIMES}

    def add(self, kind: str, times_ms: Mapping[str, float | None]) -> None:
        """One request: how it ended (``ok`` or the kind of its error), and its times where it was answered."""
        if kind != "ok":
            self.failed += 1
            self.errors[kind] = self.errors.get(kind, 0) + 1
            return
        self.ok += 1
        for name, value in times_ms.items():
            if value is not None:
                self.times[name].record(value)

    def absorb(self, other: Fold) -> None:
        """Adds what another one has."""
        self.ok += other.ok
        self.failed += other.failed
        for kind, count in other.errors.items():
            self.errors[kind] = self.errors.get(kind, 0) + count
        for name in TIMES:
            self.times[name].merge(other.times[name])

    @classmethod
    def of_row(cls, row: Any) -> Fold:
        """What a row of the table has."""
        made = cls()
        made.ok, made.failed = row.ok, row.failed
        made.errors = msgspec.json.decode(row.errors, type=dict[str, int])
        for name in TIMES:
            if (kept := getattr(row, name)) is not None:
                made.times[name] = Histogram.from_bytes(kept)
        return made


class Store:
    """The file of one target's monitor, which one process at a time may have open.

    ``most_bytes``: what the file may hold; the oldest goes when it would be more.
    """

    def __init__(self, path: Path, target: str, *, most_bytes: int, kept_s: Mapping[int, float] = KEPT_S) -> None:
        self.path = path
        self._most_bytes = max(LEAST_BYTES, most_bytes)
        self._kept_s = kept_s
        self._lock = _locked(path)
        try:
            self._database = Database(str(path))
            self._open(target)
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Closes the file."""
        self._database.close()
        os.close(self._lock)

    def _open(self, target: str) -> None:
        import sqlalchemy as sa

        meta, fresh = tables().meta, not self.path.exists()
        if fresh:
            with self._database._explained(), self._database._engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA auto_vacuum=INCREMENTAL")
                connection.exec_driver_sql("VACUUM")
        with self._database.writing() as connection:
            meta.metadata.create_all(connection)
            kept = connection.execute(sa.select(meta.c.value).where(meta.c.name == "target")).scalar()
            if kept is None:
                connection.execute(meta.insert().values(name="target", value=target))
        if kept not in (None, target):
            raise UsageError(f"{self.path} is the monitor's file of {kept}; name another with --store for {target}")

    def add(self, folds: Mapping[int, Fold], now_s: float) -> None:
        """Adds what ended, by its second, to every level, in one transaction; what is too old goes."""
        spans = tables().spans
        with self._database.writing() as connection:
            for level in (SECOND, MINUTE, HOUR):
                grouped: dict[int, list[Fold]] = {}
                for second, fold in folds.items():
                    grouped.setdefault(second - second % level, []).append(fold)
                for start, some in grouped.items():
                    self._write(connection, level, start, some)
                old = spans.c.start_s < now_s - self._kept_s[level]
                connection.execute(spans.delete().where(spans.c.level == level, old))
            self._within_bounds(connection)

    def _write(self, connection: sa.Connection, level: int, start: int, folds: Iterable[Fold]) -> None:
        spans = tables().spans
        key = (spans.c.level == level) & (spans.c.start_s == start)
        there = connection.execute(spans.select().where(key)).first()
        whole = Fold() if there is None else Fold.of_row(there)
        for fold in folds:
            whole.absorb(fold)
        values = {
            "ok": whole.ok,
            "failed": whole.failed,
            "errors": msgspec.json.encode(whole.errors).decode(),
            **{name: whole.times[name].to_bytes() if whole.times[name].count else None for name in TIMES},
        }
        if there is None:
            connection.execute(spans.insert().values(level=level, start_s=start, **values))
        else:
            connection.execute(spans.update().where(key).values(**values))

    def _within_bounds(self, connection: sa.Connection) -> None:
        """Drops the oldest of the level that has most rows until what is used is within the bound."""
        import sqlalchemy as sa

        spans = tables().spans
        while self._used(connection) > self._most_bytes:
            counts = connection.execute(sa.select(spans.c.level, sa.func.count()).group_by(spans.c.level)).all()
            if sum(count for _, count in counts) <= len(KEPT_S):
                break  # nothing is left to drop but what is being written
            level, count = max(counts, key=lambda pair: pair[1])
            oldest = sa.select(spans.c.start_s).where(spans.c.level == level).order_by(spans.c.start_s)
            drop = oldest.limit(max(1, count // 10)).scalar_subquery()
            connection.execute(spans.delete().where(spans.c.level == level, spans.c.start_s.in_(drop)))
        connection.exec_driver_sql("PRAGMA incremental_vacuum")

    @staticmethod
    def _used(connection: sa.Connection) -> int:
        pages, free, size = (
            int(connection.exec_driver_sql(f"PRAGMA {name}").scalar() or 0)
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    def spans(self, level: int, since_s: float) -> list[Span]:
        """What was folded at a level from a time on, oldest first."""
        spans = tables().spans
        chosen = spans.select().where(spans.c.level == level, spans.c.start_s >= since_s).order_by(spans.c.start_s)
        with self._database.reading() as connection:
            rows = connection.execute(chosen).all()
        return [
            Span(
                start_s=float(row.start_s),
                ok=row.ok,
                failed=row.failed,
                times={name: Histogram.from_bytes(kept) for name in TIMES if (kept := getattr(row, name)) is not None},
            )
            for row in rows
        ]

    def firing(self) -> dict[str, Alarm]:
        """The alarms that are not resolved, by name."""
        return {alarm.name: alarm for alarm in self.alarms() if alarm.resolved_s is None}

    def alarms(self, most: int = MOST_ALARMS) -> list[Alarm]:
        """The latest alarms, newest first."""
        table = tables().alarms
        with self._database.reading() as connection:
            rows = connection.execute(table.select().order_by(table.c.id.desc()).limit(most)).all()
        return [Alarm(row.name, row.kind, row.since_s, row.text, row.resolved_s) for row in rows]

    def note(self, fired: Iterable[Alarm], resolved: Iterable[Alarm]) -> None:
        """Keeps what fired and what was resolved."""
        import sqlalchemy as sa

        table = tables().alarms
        with self._database.writing() as connection:
            for alarm in resolved:
                there = (table.c.name == alarm.name) & table.c.resolved_s.is_(None)
                connection.execute(table.update().where(there).values(resolved_s=alarm.resolved_s))
            for alarm in fired:
                values = {"name": alarm.name, "kind": alarm.kind, "since_s": alarm.since_s, "text": alarm.text}
                connection.execute(table.insert().values(**values))
            newest = sa.select(table.c.id).order_by(table.c.id.desc()).limit(MOST_ALARMS).scalar_subquery()
            over = table.c.resolved_s.is_not(None) & table.c.id.not_in(newest)
            connection.execute(table.delete().where(over))


def _locked(path: Path) -> int:
    """The lock of a store, held as long as the descriptor is open; the kernel lets it go when its process ends."""
    lock = path.with_name(f"{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        opened = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise PerfsuiteError(f"cannot write {lock}: {error.strerror or error}; name another with --store") from error
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(opened)
        raise UsageError(f"{path} belongs to a monitor that runs; end it, or name another with --store") from error
    return opened
