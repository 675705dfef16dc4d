"""How a database goes about a query: which indexes it uses, which tables it reads whole."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import sqlalchemy as sa

_SEARCH = re.compile(r"^(?:SEARCH|SCAN)(?: TABLE)? (?P<table>\S+)")
_INDEX = re.compile(r"USING (?:COVERING )?INDEX (?P<index>[^\s(]+)")


class QueryPlan(NamedTuple):
    """``lines``: the plan as the database says it, a step each.  ``indexes`` are those that it uses; ``whole`` are the
    tables that it reads from end to end."""

    lines: tuple[str, ...]
    indexes: frozenset[str]
    whole: tuple[str, ...]

    def __str__(self) -> str:
        return "; ".join(self.lines)


def explain(
    connection: sa.Connection, sql: str, values: Mapping[str, object], *, runs: bool = True
) -> QueryPlan | None:
    """The plan of a statement; None where this database's plans are not read here.  ``runs``: it may be run for that,
    as PostgreSQL does for the rows and the times of each step (never for one that writes)."""
    import sqlalchemy as sa

    if connection.dialect.name == "sqlite":
        # Python keeps prepared statements by their text, and of one that is explained SQLite does not notice that an
        # index has come or gone since.
        fresh = f"EXPLAIN QUERY PLAN /* {time.monotonic_ns()} */ {sql}"
        rows = connection.execute(sa.text(fresh), values).fetchall()
        return of_sqlite([str(row[-1]) for row in rows])
    if connection.dialect.name == "postgresql":
        how = "ANALYZE, FORMAT JSON" if runs else "FORMAT JSON"
        found = connection.execute(sa.text(f"EXPLAIN ({how}) {sql}"), values).scalar()
        return of_postgres(json.loads(found) if isinstance(found, str) else found)
    return None


def of_sqlite(details: list[str]) -> QueryPlan:
    """From the ``detail`` column of EXPLAIN QUERY PLAN."""
    indexes, whole = set(), []
    for line in details:
        named, step = _INDEX.search(line), _SEARCH.match(line)
        if named is not None:
            indexes.add(named["index"])
        elif step is not None and line.startswith("SCAN"):
            whole.append(step["table"])
    return QueryPlan(tuple(details), frozenset(indexes), tuple(whole))


def of_postgres(document: Any) -> QueryPlan:
    """From EXPLAIN's JSON."""
    steps = list(_steps(document[0]["Plan"]))
    return QueryPlan(
        tuple(map(_said, steps)),
        frozenset(step["Index Name"] for step in steps if "Index Name" in step),
        tuple(step["Relation Name"] for step in steps if step["Node Type"].endswith("Seq Scan")),
    )


def _steps(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for below in node.get("Plans", ()):
        yield from _steps(below)


def _said(step: Mapping[str, Any]) -> str:
    text = str(step["Node Type"])
    if "Index Name" in step:
        text += f" using {step['Index Name']}"
    if "Relation Name" in step:
        text += f" on {step['Relation Name']}"
    condition = step.get("Index Cond") or step.get("Filter")
    if condition:
        text += f" {condition}"
    if "Actual Rows" in step:
        removed = step.get("Rows Removed by Filter")
        dropped = f", {removed:,} others read" if removed else ""
        text += f" [{step['Actual Rows']:,g} rows{dropped}, {step['Actual Total Time']:g} ms]"
    return text
