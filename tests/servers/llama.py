"""llama.cpp's server with the model of ``examples/llama_server.py``, for the tests that need a real model server."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from servers.started import Started, started

SCRIPT = Path(__file__).parents[2] / "examples" / "llama_server.py"
NEEDED = ("xllamacpp", "gguf")

needs_llama = pytest.mark.skipif(
    any(find_spec(name) is None for name in NEEDED),
    reason=f"llama.cpp's server is not installed: pip install {' '.join(NEEDED)}",
)


@contextmanager
def llama(alias: str = "tiny", *options: str) -> Iterator[Started]:
    """A server on a free port; ``options`` are the script's."""
    with started([sys.executable, str(SCRIPT), "--alias", alias, *options], _address) as server:
        yield server


def _address(printed: str) -> str | None:
    found = re.search(r"^(http://\S+)\n", printed, re.MULTILINE)
    return found[1] if found else None
