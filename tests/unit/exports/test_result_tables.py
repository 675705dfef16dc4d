"""A result as a table of pandas, polars and Arrow, as CSV and as Parquet."""

from __future__ import annotations

import csv
import io
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from perfsuite.cli import main
from perfsuite.errors import MissingExtra, UsageError
from perfsuite.exports import tables
from perfsuite.result import Result, dump, parse
from played import a_result
from results_made import environment, full, run

METRICS = ["phase", "metric", "unit", "value", "target", "verdict", "samples", "mean", "p50", "p95", "p99"]
SERIES = ["phase", "metric", "t_s", "value"]
EMPTY = Result(run=run(), environment=environment())


def as_pandas(result: Result, what: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    frame = result.to_pandas(what)
    return list(frame.columns), [
        tuple(None if isinstance(cell, float) and math.isnan(cell) else cell for cell in row)
        for row in frame.itertuples(index=False, name=None)
    ]


def as_polars(result: Result, what: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    frame = result.to_polars(what)
    return frame.columns, frame.rows()


def as_arrow(result: Result, what: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    table = result.to_arrow(what)
    return table.column_names, [tuple(row.values()) for row in table.to_pylist()]


FRAMES = {"pandas": as_pandas, "polars": as_polars, "pyarrow": as_arrow}


@pytest.mark.parametrize("library", FRAMES)
def test_a_row_a_metric_with_what_the_result_says_of_it(library: str) -> None:
    pytest.importorskip(library)
    result = parse(dump(full()))
    names, rows = FRAMES[library](result, "metrics")
    assert names == METRICS
    metrics = [(phase, metric) for phase in result.phases for metric in phase.metrics]
    assert len(rows) == len(metrics) >= 5
    for row, (phase, metric) in zip(rows, metrics, strict=True):
        found = dict(zip(names, row, strict=True))
        assert (found["phase"], found["metric"], found["samples"]) == (phase.name, metric.name, metric.samples)
        for name in ("unit", "value", "target", "verdict"):
            assert found[name] == getattr(metric, name), (metric.name, name)
        for name in ("mean", "p50", "p95", "p99"):
            assert found[name] == (None if metric.stats is None else getattr(metric.stats, name))
    assert any(value is None for row in rows for value in row)  # a result without gaps would prove nothing of them


@pytest.mark.parametrize("library", FRAMES)
def test_series_are_long(library: str) -> None:
    pytest.importorskip(library)
    result = parse(dump(full()))
    names, rows = FRAMES[library](result, "series")
    assert names == SERIES
    wanted = [
        (phase.name, metric.name, *point)
        for phase in result.phases
        for metric in phase.metrics
        for point in metric.series
    ]
    assert rows == wanted
    assert len(rows) >= 160


@pytest.mark.parametrize("library", FRAMES)
@pytest.mark.parametrize("what", ["metrics", "series"])
def test_columns_have_their_types_with_no_row_at_all(library: str, what: str) -> None:
    pytest.importorskip(library)
    names, rows = FRAMES[library](EMPTY, what)
    assert (names, rows) == (METRICS if what == "metrics" else SERIES, [])
    frame = {"pandas": EMPTY.to_pandas, "polars": EMPTY.to_polars, "pyarrow": EMPTY.to_arrow}[library](what)
    kind = frame.schema.field("value").type if library == "pyarrow" else frame["value"].dtype
    assert str(kind).lower() in ("float64", "double")


def test_another_table_is_unknown() -> None:
    with pytest.raises(UsageError, match="did you mean series"):
        full().rows("serie")


@pytest.mark.parametrize(
    ("library", "method"), [("pandas", "to_pandas"), ("polars", "to_polars"), ("pyarrow", "to_arrow")]
)
def test_without_the_library_the_extra_is_named(library: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=rf'{library}, which is not installed: pip install "perfsuite\[notebook\]"'):
        getattr(full(), method)()


def test_csv_has_the_same_figures() -> None:
    result = parse(dump(full()))
    for what, names in (("metrics", METRICS), ("series", SERIES)):
        header, *lines = csv.reader(io.StringIO(tables.csv(result, what).decode()))
        assert header == names
        wanted = [["" if cell is None else str(cell) for cell in row] for row in result.rows(what)]
        assert [[cell.removeprefix("'") for cell in line] for line in lines] == wanted


def test_parquet_is_read_back(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    result = parse(dump(full()))
    for what in ("metrics", "series"):
        (tmp_path / "table.parquet").write_bytes(tables.parquet(result, what))
        assert parquet.read_table(tmp_path / "table.parquet").equals(result.to_arrow(what))


def test_report_writes_tables_where_they_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    result = a_result()
    (tmp_path / "results-T.json").write_bytes(dump(result))
    assert main(["report", "results-T.json", "-f", "csv", "-f", "series-csv", "-f", "junit"]) == 0
    assert capsys.readouterr().out.split() == ["metrics-T.csv", "series-T.csv", "junit-T.xml"]
    assert (tmp_path / "metrics-T.csv").read_bytes() == tables.csv(parse(dump(result)), "metrics")
    assert main(["report", "results-T.json"]) == 0
    assert not list(tmp_path.glob("*.parquet"))


def test_report_names_the_extra_that_parquet_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results-T.json").write_bytes(dump(a_result()))
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["report", "results-T.json", "-f", "parquet"]) == 2
    assert 'pip install "perfsuite[notebook]"' in capsys.readouterr().err
    assert not list(tmp_path.glob("*.parquet"))
