"""The tables of the history (schema version 1)."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import sqlalchemy as sa


class Tables(NamedTuple):
    """All of them; their names begin with ``perfsuite_``, so that they may live in a database with others."""

    meta: sa.Table
    runs: sa.Table
    phases: sa.Table
    figures: sa.Table


@cache
def tables() -> Tables:
    """Times are ISO 8601 with the zone; ``started_s`` is the same in seconds, to sort by."""
    kept = sa.MetaData()
    text = sa.Text
    meta = sa.Table(
        "perfsuite_meta",
        kept,
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", text, nullable=False),
    )
    runs = sa.Table(
        "perfsuite_runs",
        kept,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.String(200), unique=True, nullable=False),
        sa.Column("started", sa.String(64), nullable=False),
        sa.Column("started_s", sa.Float, index=True, nullable=False),
        sa.Column("ended", sa.String(64)),
        sa.Column("target", text, nullable=False),
        sa.Column("profile", sa.String(64), nullable=False),
        sa.Column("seed", sa.String(32), nullable=False),
        sa.Column("verdict", sa.String(32), nullable=False),
        sa.Column("exit_code", sa.Integer, nullable=False),
        sa.Column("host_key", sa.String(32), index=True, nullable=False),
        sa.Column("host", text, nullable=False),
        sa.Column("cpu", text, nullable=False),
        sa.Column("cores", sa.Integer, nullable=False),
        sa.Column("memory_bytes", sa.BigInteger, nullable=False),
        sa.Column("os", text, nullable=False),
        sa.Column("python", text, nullable=False),
        sa.Column("perfsuite", text, nullable=False),
        sa.Column("commit_id", text),
        sa.Column("packages", text, nullable=False),
        sa.Column("command", text, nullable=False),
        sa.Column("folder", text, nullable=False),
    )
    phases = sa.Table(
        "perfsuite_phases",
        kept,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run", sa.ForeignKey("perfsuite_runs.id", ondelete="CASCADE"), index=True, nullable=False),
        sa.Column("name", sa.String(200), index=True, nullable=False),
        sa.Column("verdict", sa.String(32), nullable=False),
        sa.Column("duration_s", sa.Float, nullable=False),
        sa.Column("configuration_key", sa.String(32), index=True, nullable=False),
        sa.Column("configuration", text, nullable=False),
    )
    figures = sa.Table(
        "perfsuite_figures",
        kept,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("phase", sa.ForeignKey("perfsuite_phases.id", ondelete="CASCADE"), index=True, nullable=False),
        sa.Column("metric", sa.String(200), nullable=False),
        sa.Column("stat", sa.String(32), nullable=False),
        sa.Column("unit", sa.String(64), nullable=False),
        sa.Column("better", sa.String(16)),
        sa.Column("gates", sa.Boolean, nullable=False),
        sa.Column("value", sa.Double, nullable=False),
        sa.UniqueConstraint("phase", "metric", "stat"),
    )
    return Tables(meta, runs, phases, figures)
