"""A run over the wire carries this machine's error bars, where a self check covered its load."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from checks_made import a_check
from perfsuite.configuration import configure
from perfsuite.errors import UsageError
from perfsuite.reports import html, markdown, terminal
from perfsuite.result import Result, dump, parse
from perfsuite.runner import execute_async
from perfsuite.selfchecks import keep
from perfsuite.suites.selfcheck.checking import loads_of
from perfsuite.targets.http.wired import drivable
from serving import serving

ENGINE = "wire" if drivable(["http"]) else "asyncio"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def once(**changes: object) -> Result:
        async def main() -> Result:
            async with serving(tokens=8) as server:
                flags = {"target": server.url, "duration": "1s", "phase": ["load"], "concurrency": "4", **changes}
                return await execute_async(configure(flags))

        return asyncio.run(main())

    return once


def test_figures_have_their_error_where_a_check_covers_the_load(run: Callable[..., Result]) -> None:
    keep([a_check(engine=ENGINE, streams=512, chunks_per_s=1e9)])
    result = run()
    (phase,) = result.phases
    assert {one.engine for one in phase.error_bars} == {ENGINE}
    assert all(one.checked is not None and one.scheme == "http" for one in phase.error_bars)
    ttft, memory = phase.metric("ttft"), phase.metric("memory_growth")
    assert ttft is not None
    assert ttft.measurement_error == 0.02
    assert memory is None or memory.measurement_error is None
    shown = terminal.render(result, verbose=True)
    assert "±0.02" in shown
    assert "the client's own error: ttft ±" in shown
    assert "error not measured" not in shown
    assert "±0.02" in markdown.render(result)
    assert "±0.02" in html.render(result)


def test_figures_without_one_say_so_and_how_to_measure_it(run: Callable[..., Result]) -> None:
    keep([a_check(engine=ENGINE, streams=2, chunks_per_s=1e9), a_check(engine=ENGINE, scheme="https", streams=512)])
    result = run()
    (phase,) = result.phases
    ttft = phase.metric("ttft")
    assert ttft is not None
    assert ttft.value is not None
    assert ttft.measurement_error is None
    command = f"perfsuite selfcheck --engine {ENGINE} --scheme http --streams "
    for text in (terminal.render(result), html.render(result), markdown.render(result).replace("\\", "")):
        assert f"error not measured: {command}" in text
    (asked,) = loads_of(parse(dump(result)))
    assert (asked.engine, asked.scheme, asked.tokens_per_chunk) == (ENGINE, "http", 1)
    assert asked.streams == max(one.streams for one in phase.error_bars) >= 4


def test_an_embedded_system_has_no_client_to_err(run: Callable[..., Result]) -> None:
    result = run(target="reference")
    assert result.phases[0].error_bars == []
    assert result.phases[0].warnings == []
    assert "error not measured" not in terminal.render(result, verbose=True)
    with pytest.raises(UsageError, match="--streams"):
        loads_of(result)
