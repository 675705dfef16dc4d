"""A user's own queries, named in a TOML file.

[[queries]]
name = "orders of a customer"
sql = "SELECT * FROM orders WHERE customer_id = :customer ORDER BY placed_at"
[queries.parameters]
customer = { from = 1, to = 5000 }      # a whole number drawn each time; or a list to draw from: ["a", "b"]
# writes = true                         # without this the query runs in a connection that cannot write
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from perfsuite.errors import Mistakes, UsageError, shown, unknown

Value = str | int | float | bool | None
KEYS = ("name", "sql", "parameters", "writes")


@dataclass(frozen=True, slots=True)
class Span:
    """Whole numbers from ``low`` to ``high``, both included."""

    low: int
    high: int

    def draw(self, rng: random.Random) -> Value:
        """One of them."""
        return rng.randint(self.low, self.high)


@dataclass(frozen=True, slots=True)
class Listed:
    """Values to draw from."""

    values: Sequence[Value]

    def draw(self, rng: random.Random) -> Value:
        """One of them."""
        return rng.choice(self.values)


Drawn = Span | Listed


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedQuery:
    """A statement with ``:names`` for what is drawn anew each time.  ``writes``: it may change something."""

    name: str
    sql: str
    parameters: Mapping[str, Drawn] = field(default_factory=dict)
    writes: bool = False

    def draw(self, rng: random.Random) -> dict[str, Value]:
        """A value for each parameter."""
        return {name: one.draw(rng) for name, one in self.parameters.items()}


def read_queries(path: Path) -> list[NamedQuery]:
    """The queries of a file.  Raises UsageError with every mistake in it."""
    import tomllib

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--queries {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--queries {path}: no TOML: {error}") from error
    except RecursionError as error:
        raise UsageError(f"--queries {path}: nested too deeply") from error
    mistakes = Mistakes()
    for key in document:
        if key != "queries":
            mistakes.add(str(unknown("key", key, ["queries"], str(path))))
    listed = document.get("queries", [])
    if not isinstance(listed, list) or not listed:
        raise UsageError(f"{path}: no queries; write [[queries]] with name, sql and parameters")
    found: dict[str, NamedQuery] = {}
    for index, table in enumerate(listed):
        with mistakes.noted():
            query = _query(table, f"{path}: queries[{index}]")
            if query.name in found:
                raise UsageError(f"{path}: queries[{index}]: a second query is named {query.name!r}")
            found[query.name] = query
    mistakes.check()
    return list(found.values())


def _query(table: object, where: str) -> NamedQuery:
    import sqlalchemy as sa

    if not isinstance(table, Mapping):
        raise UsageError(f"{where}: {shown(table)} is no table; write [[queries]] above it")
    for key in table:
        if key not in KEYS:
            raise unknown("key", str(key), KEYS, where)
    name, sql, writes = table.get("name"), table.get("sql"), table.get("writes", False)
    for key, value in (("name", name), ("sql", sql)):
        if not isinstance(value, str) or not value.strip():
            raise UsageError(f'{where}: {key}: {shown(value)} is no text; write {key} = "…"')
    assert isinstance(name, str)
    assert isinstance(sql, str)
    if not isinstance(writes, bool):
        raise UsageError(f"{where}: writes: {shown(writes)} is neither true nor false")
    given = table.get("parameters", {})
    if not isinstance(given, Mapping):
        raise UsageError(f"{where}: parameters: {shown(given)} is no table; write parameters.NAME = …")
    parameters = {str(key): _drawn(value, f"{where}: parameters.{key}") for key, value in given.items()}
    asked = set(sa.text(sql)._bindparams)
    if lacking := sorted(asked - set(parameters)):
        raise UsageError(
            f"{where}: no values for :{' :'.join(lacking)}; write parameters.{lacking[0]} = {{ from, to }}"
        )
    if unused := sorted(set(parameters) - asked):
        raise UsageError(f"{where}: sql has no :{' :'.join(unused)}")
    return NamedQuery(name=" ".join(name.split()), sql=sql.strip().rstrip(";"), parameters=parameters, writes=writes)


def _drawn(value: object, where: str) -> Drawn:
    if isinstance(value, list) and value and all(isinstance(one, str | int | float | bool) for one in value):
        return Listed(tuple(value))
    if isinstance(value, Mapping) and set(value) == {"from", "to"}:
        low, high = value["from"], value["to"]
        if isinstance(low, int) and isinstance(high, int) and low <= high:
            return Span(low, high)
    if isinstance(value, str | int | float | bool):
        return Listed((value,))
    raise UsageError(f"{where}: {shown(value)} is neither a list of values nor {{ from = 1, to = 1000 }}")
