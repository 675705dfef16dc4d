"""Tokens where a server tells none: the model's tokenizer where its files are at hand, else a labelled estimate."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from perfsuite.targets.http.dialect import Usage, flat

CHARACTERS_A_TOKEN = 4.0
"""Of English text, about: https://help.openai.com/en/articles/4936856"""
ESTIMATE = "an estimate: a token for every 4 characters"
_BLOBS = "https://openaipublic.blob.core.windows.net/encodings/"


@dataclass(frozen=True, slots=True)
class Counter:
    """Counts the tokens of a text; ``name`` says how, for the report."""

    name: str
    count: Callable[[str], int]

    def completed(self, usage: Usage, messages: Iterable[Mapping[str, object]], answer: str, hidden: int) -> Usage:
        """``usage`` with what it leaves out counted from the texts.  ``hidden``: characters that were not shown."""
        prompt, completion = usage.prompt_tokens, usage.completion_tokens
        if prompt is None:
            prompt = sum(self.count(flat(message.get("content"))) for message in messages)
        if completion is None:
            completion = self.count(answer) + _estimated(hidden)
        return Usage(prompt, completion, usage.cached_tokens)


def counter_for(model: str | None) -> Counter:
    """The best counter at hand for a model.  Nothing is downloaded."""
    return _tiktoken(model) or Counter(ESTIMATE, lambda text: _estimated(len(text)))


def _estimated(characters: int) -> int:
    return -(-characters // int(CHARACTERS_A_TOKEN))


def _tiktoken(model: str | None) -> Counter | None:
    try:
        tiktoken = import_module("tiktoken")
    except ImportError:
        return None
    if model is None:
        return None
    try:
        name = import_module("tiktoken.model").encoding_name_for_model(model)
    except KeyError:
        return None
    if not _cached(name):
        return None  # loading it would download it
    encoding = tiktoken.get_encoding(name)
    return Counter(f"tiktoken {name}", lambda text: len(encoding.encode(text, disallowed_special=())))


def _cached(encoding: str) -> bool:
    folder = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    where = Path(folder) if folder else Path(tempfile.gettempdir()) / "data-gym-cache"
    return (where / hashlib.sha1(f"{_BLOBS}{encoding}.tiktoken".encode()).hexdigest()).is_file()
