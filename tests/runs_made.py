"""Runs of a small benchmark to compare: what a figure was is told, the rest is the same."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import perfsuite
from perfsuite.analysis.comparable import RUNS, figures
from perfsuite.analysis.judging import RunFigures
from perfsuite.result import Environment, MetricResult, PhaseResult, Result, Run, Stats, dump

BEGUN = datetime(2026, 11, 1, 12, tzinfo=UTC)


def result(
    number: int,
    p50: float,
    *,
    p99: float | None = None,
    memory: float = 1e8,
    errors: float = 0.0,
    phase: str = "load",
    unit: str = "ms",
    inside: Sequence[float] = (),
    stretches: Sequence[float] = (),
    duration_s: float = 2.0,
    **environment: Any,
) -> Result:
    """Run ``number``: the median response time, resident memory and error rate as told."""
    when = BEGUN + timedelta(hours=number)
    plan = {
        "target": "reference", "profile": "quick", "output": f"results-{number}", "seed": 0,
        "phases": [{"name": phase, "duration_s": duration_s, "criteria": [{"metric": "response_time"}], "probes": []}],
    }  # fmt: skip
    metrics = [
        MetricResult(
            name="response_time", unit=unit, kind="histogram", value=2 * p50, stat="p95", target=5000.0, comparison="<",
            verdict="passed", samples=100, details={RUNS: {"p50": list(inside)}} if inside else {},
            stretches={"p50": list(stretches)} if stretches else {},
            stats=Stats(mean=1.2 * p50, min=p50 / 2, max=4 * p50, p50=p50, p95=2 * p50, p99=p99 or 3 * p50),
        ),
        MetricResult(name="memory_usage", unit="bytes", kind="gauge", value=memory, stat="max", target=14e9,
                     comparison="<=", verdict="passed", samples=10),
        MetricResult(name="error_rate", unit="ratio", kind="ratio", value=errors, target=0.01, comparison="<",
                     verdict="passed", samples=100),
        MetricResult(name="prompt_tokens", unit="tokens", kind="histogram", value=300.0, stat="mean",
                     stats=Stats(mean=300.0, p50=300.0), samples=100),
        MetricResult(name="cache_hit_rate", unit="ratio", kind="ratio", verdict="not measured", reason="not shown"),
    ]  # fmt: skip
    here = {"host": "box", "os": "Linux 6.1", "cpu": "Test CPU", "cores": 2, "memory_bytes": 8 << 30,
            "python": "CPython 3.11.2", "perfsuite": "0.1.0", "commit": f"{number:040x}", **environment}  # fmt: skip
    return Result(
        run=Run(id=f"run-{number}", started=when.isoformat(), ended=(when + timedelta(seconds=5)).isoformat(),
                target="reference", plan=plan, verdict="passed"),
        environment=Environment(**here),
        phases=[PhaseResult(name=phase, verdict="passed", duration_s=2.0, metrics=metrics)],
    )  # fmt: skip


def series(count: int, *, seed: int, level: float = 100.0, spread: float = 0.02) -> list[float]:
    """Run medians around a level, lognormal."""
    draw = random.Random(seed)
    return [level * draw.lognormvariate(0.0, spread) for _ in range(count)]


def runs(values: Sequence[float], *, first: int = 0, **more: Any) -> list[RunFigures]:
    """Runs whose medians are these, as they are judged."""
    made = [result(first + i, value, **more) for i, value in enumerate(values)]
    return [RunFigures(one.run.id, one.run.started, figures(one.phases[0])) for one in made]


def written(folder: Path, values: Sequence[float], *, first: int = 0, **more: Any) -> list[Path]:
    """The result files of runs whose medians are these."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, value in enumerate(values, first):
        one = result(number, value, **more)
        when = BEGUN + timedelta(hours=number)
        path = folder / f"results-{when:%Y%m%d_%H%M%S}.json"
        path.write_bytes(dump(one))
        paths.append(path)
    return paths


def write_at_once(code: str, place: str, writers: int) -> None:
    """Runs a program in so many processes, given the place and a number each; it waits for a line, which all get at the
    same moment."""
    path = [str(Path(perfsuite.__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, place, str(number)], env=environment, stdin=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )
        for number in range(writers)
    ]  # fmt: skip
    for writer in started:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in started:
        _, errors = writer.communicate(timeout=120)
        assert writer.returncode == 0, errors
