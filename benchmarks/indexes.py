"""What the seven indexes are worth on 100,000 rows in each table: SQLite, and PostgreSQL where it is here.

    python benchmarks/indexes.py [--rows 100000] [--workers 2] [--seconds 30] [--url URL…]

Each look-up runs with its index and without it in turns, so that the ratios are of one run.  Medians are of a machine
as it is: where it has other work, a look-up of a tenth of a millisecond waits for its turn, and most of all over a
socket.  The quickest tenth of both sides is what that does not reach, and what is held against LEAST.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from perfsuite.api import arun
from perfsuite.result import PhaseResult, Result
from perfsuite.suites.database.operations import SESSION_LOOKUPS

LEAST = 10.0
"""The look-ups by user and session are to be so many times quicker with their index."""
HEAD = f"{'':<28}{'medians: with':>15}{'without':>12}  times  {'quickest tenths':>20}  times"


def measure(url: str | None, rows: int, workers: int, seconds: float) -> PhaseResult:
    """The benchmark's phase on a database, SQLite without one."""
    result: Result = asyncio.run(arun("database", url=url, rows=rows, workers=workers, duration=seconds))
    if result.run.error is not None:
        sys.exit(result.run.error)
    return result.phases[0]


def show(name: str, phase: PhaseResult) -> list[str]:
    """Prints its table; returns the look-ups that fall short."""
    used, created = phase.metric("indexes_used"), phase.metric("session_create_time")
    assert used is not None
    assert created is not None
    print(f"\n{created.details.get('database', name)}\n{HEAD}")
    short = []
    for row in used.details["indexes"]:
        quickest = row["times_quicker"]
        if row["index"] in SESSION_LOOKUPS and quickest < LEAST:
            short.append(f"{name}: {row['index']}")
        print(
            f"{row['index']:<28}{row['p50_with_ms']:>12.3f} ms{row['p50_without_ms']:>9.3f} ms"
            f"{row['times_quicker_by_medians']:>7.0f}{row['p10_with_ms']:>10.3f} ms"
            f"{row['p10_without_ms']:>7.2f} ms{quickest:>7.0f}"
            f"{'' if row['used'] else '  NOT IN THE PLAN'}"
        )
    return short


@contextlib.contextmanager
def databases(urls: list[str]) -> Iterator[list[tuple[str, str | None]]]:
    """What is measured, by name: the URLs, else SQLite and a PostgreSQL of this run's own."""
    if urls:
        yield [(url.partition(":")[0], url) for url in urls]
        return
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    import postgres

    binaries = postgres.programs()
    if binaries is None:
        print(f"PostgreSQL is left out: {postgres.HOW}")
        yield [("SQLite", None)]
        return
    with contextlib.closing(postgres.Postgres(binaries)) as server:
        yield [("SQLite", None), ("PostgreSQL", server.url)]


def main() -> None:
    """Prints a table for each database; exit code 1 where a look-up by user or session is not LEAST times quicker."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--url", action="append", default=[])
    asked = parser.parse_args()
    print(f"{asked.rows:,} rows in each of four tables, {asked.workers} workers")
    with databases(asked.url) as measured:
        short = [
            text
            for name, url in measured
            for text in show(name, measure(url, asked.rows, asked.workers, asked.seconds))
        ]
    if short:
        sys.exit(f"\nless than {LEAST:g} times quicker: {', '.join(short)}")


if __name__ == "__main__":
    main()
