"""tiktoken's encodings, from files that are on this machine: nothing is downloaded.

tiktoken keeps what it has downloaded under the SHA-1 of its address, in TIKTOKEN_CACHE_DIR, else in the temporary
folder (``tiktoken.load.read_file_cached``); a file whose digest is wrong it would download again.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

FOLDER = "https://openaipublic.blob.core.windows.net/encodings/"


def file_of(encoding: str) -> Path:
    """Where tiktoken keeps an encoding such as ``o200k_base``."""
    named = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    folder = Path(named) if named else Path(tempfile.gettempdir()) / "data-gym-cache"
    return folder / hashlib.sha1(f"{FOLDER}{encoding}.tiktoken".encode()).hexdigest()


def at_hand(encoding: str) -> Any | None:
    """The encoding; None where its file is not here, or is another than its name says.  Raises ImportError where
    tiktoken is not installed."""
    tiktoken = import_module("tiktoken")
    if not file_of(encoding).is_file():
        return None
    load: Any = import_module("tiktoken.load")
    fetch = load.read_file
    load.read_file = _not_fetched
    try:
        return tiktoken.get_encoding(encoding)
    except OSError:
        return None
    finally:
        load.read_file = fetch


def _not_fetched(where: str) -> bytes:
    raise FileNotFoundError(f"{where} is not fetched")
