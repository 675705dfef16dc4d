"""The comparison of load clients: our own client really runs, and nothing that was not measured is shown as if."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks/clients"


@pytest.fixture(scope="module")
def clients() -> Any:
    spec = importlib.util.spec_from_file_location("benchmark_clients", FOLDER / "__main__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["benchmark_clients"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(sys.platform != "linux", reason="the wire engine is for Linux")
@pytest.mark.parametrize("client", ["perfsuite", "perfsuite, asyncio"])
def test_a_client_is_held_against_the_truth_of_its_measured_requests(clients: Any, client: str) -> None:
    cell = clients.measure(client, sys.executable, streams=2, rounds=2, tokens=3, spinning=0)
    assert cell.note == ""
    assert (cell.held, cell.errors) == (2, 0)
    assert set(cell.said) == set(cell.true) == {"ttft_p50", "ttft_p99", "itl_p50", "itl_p99"}
    assert cell.true["ttft_p50"] > 19.0
    assert cell.cpu_ms_per_1000 is None  # 12 tokens tell nothing of it
    assert len(clients.shown(cell)) == 10


@pytest.mark.skipif(sys.platform != "linux", reason="the wire engine is for Linux")
def test_the_whole_run_tells_its_reports_apart(clients: Any) -> None:
    cell = clients.measure("perfsuite run", sys.executable, streams=2, rounds=2, tokens=3, spinning=0)
    assert cell.note == ""
    assert (cell.held, cell.errors) == (2, 0)
    assert cell.said == {}
    assert cell.fixed_cpu_s > 0.0
    assert cell.reports_cpu_s > 0.0
    assert clients.shown(cell)[-1] == f"{cell.fixed_cpu_s:.2f} + {cell.reports_cpu_s:.2f}"
    assert clients.fixed(clients.Cell("c", 1, 0, fixed_cpu_s=0.5)) == "0.50"


def test_a_client_that_is_not_installed_is_missing(
    clients: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "absent.py"
    script.write_text("print('pip install absent')\nraise SystemExit(77)\n")
    assert clients.run(sys.executable, script, "", 1, 1, 1) == ({}, 0.0, "missing: pip install absent")
    script.write_text("raise SystemExit(3)\n")
    assert clients.run(sys.executable, script, "", 1, 1, 1) == ({}, 0.0, "exit status 3")


@pytest.mark.parametrize("client", ["aiperf", "guidellm"])
def test_a_client_with_an_environment_of_its_own_says_how_to_have_it(clients: Any, client: str) -> None:
    if importlib.util.find_spec(client) is not None:
        pytest.skip(f"{client} is in this environment")
    cell = clients.measure(client, sys.executable, streams=2, rounds=1, tokens=3, spinning=0)
    assert cell.note == (
        f"missing: python3 -m venv E && E/bin/pip install {client}, then --python {client}=E/bin/python"
    )
    assert len(clients.shown(cell)) == 10


def test_quantiles_are_nearest_ranks(clients: Any) -> None:
    values = [float(value) for value in range(1, 101)]
    assert (clients.quantile(values, 0.5), clients.quantile(values, 0.99)) == (50.0, 99.0)
    assert clients.quantile([7.0], 0.99) == 7.0
