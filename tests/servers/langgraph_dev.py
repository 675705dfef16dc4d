"""``langgraph dev`` with the graph of ``graph.py``."""

from __future__ import annotations

import json
import shutil
import socket
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from servers.started import Started, started

GRAPH = Path(__file__).with_name("graph.py")

needs_langgraph = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("langgraph_api", "langgraph_cli")),
    reason="langgraph dev is not installed: pip install 'langgraph-cli[inmem]'",
)


@contextmanager
def langgraph_dev() -> Iterator[Started]:
    """On a free port, without a browser, a key or a report of its use."""
    with tempfile.TemporaryDirectory(prefix="langgraph-") as folder, socket.socket() as probe:
        shutil.copy(GRAPH, folder)
        (Path(folder) / "langgraph.json").write_text(
            json.dumps({"dependencies": ["."], "graphs": {"agent": "./graph.py:graph"}})
        )
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "langgraph_cli", "dev", "--host", "127.0.0.1", "--port", str(port)]
        with started(
            [*command, "--no-browser", "--no-reload"],
            lambda printed: url if _up(url) else None,
            cwd=Path(folder),
            environment={
                "LANGGRAPH_CLI_NO_ANALYTICS": "1",
                "LANGSMITH_TRACING": "false",
                "LANGCHAIN_TRACING_V2": "false",
            },
        ) as server:
            yield server


def _up(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/ok", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
