"""Tokens where a server tells none: the model's tokenizer where its files are at hand, else a labelled estimate.

Nothing is downloaded.  The tokenizer is the one that was named (``--tokenizer``), else that of the model's folder or of
the Hugging Face cache, else tiktoken's for a model of OpenAI.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from perfsuite.errors import UsageError
from perfsuite.targets.base import Reply, Request
from perfsuite.targets.http.chat_template import template_beside
from perfsuite.targets.http.dialect import Usage, flat
from perfsuite.tiktoken_files import at_hand

if TYPE_CHECKING:
    from perfsuite.targets.http.hearing import Hearing

CHARACTERS_A_TOKEN = 4.0
"""Of English text, about: https://help.openai.com/en/articles/4936856"""
ESTIMATE = "an estimate: a token for every 4 characters"
CHUNKS = "chunks, as they came"
"""How the tokens of a streamed answer are counted where nothing better than an estimate is at hand."""
OF_A_MESSAGE, OF_A_NAME, OF_THE_ANSWER = 3, 1, 3
"""What OpenAI's chat format adds: https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken"""

Messages = Sequence[Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Counter:
    """Counts the tokens of a text; ``name`` says how, for the report.

    ``prompt`` counts messages as the model reads them, the chat template's tokens included: None where the template is
    not known, and then a prompt's count is that of its texts.
    """

    name: str
    count: Callable[[str], int]
    prompt: Callable[[Messages], int] | None = None

    @property
    def estimates(self) -> bool:
        """No tokenizer counts."""
        return self.name == ESTIMATE

    def completed(self, usage: Usage, messages: Iterable[Mapping[str, object]], answer: str, hidden: int) -> Usage:
        """``usage`` with what it leaves out counted from the texts.  ``hidden``: characters that were not shown."""
        prompt, completion = usage.prompt_tokens, usage.completion_tokens
        if prompt is None:
            prompt = self.of(list(messages))
        if completion is None:
            completion = self.count(answer) + _estimated(hidden)
        return Usage(prompt, completion, usage.cached_tokens, usage.agents)

    def of(self, messages: Messages) -> int:
        """Tokens of a prompt, as well as it can be told."""
        if self.prompt is not None:
            return self.prompt(messages)
        return sum(self.count(flat(message.get("content"))) for message in messages)


def reply_of(
    heard: Hearing,
    request: Request,
    model: str | None,
    counter: Callable[[str | None], Counter],
    chunks: int | None = None,
) -> Reply:
    """What was heard, as a reply: what the service did not count is counted by ``counter(model)``; of what was
    streamed, chunks are counted where that only estimates.  ``chunks``: as they came, where what was heard was read
    from a body that was kept, in which pieces of raw text lie seamless."""
    usage, counted_by = heard.usage, "usage"
    if usage.completion_tokens is None or usage.prompt_tokens is None:
        own = counter(model)
        if usage.completion_tokens is None and own.estimates and not heard.whole:
            usage, counted_by = usage.then(Usage(completion_tokens=heard.chunks if chunks is None else chunks)), CHUNKS
        else:
            counted_by = own.name
        usage = own.completed(usage, request.messages, heard.text, heard.hidden)
    return Reply(
        text=heard.text,
        model=heard.model or model,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached_tokens,
        counted_by=counted_by,
        counted=heard.usage.completion_tokens is None,
        extra={"agents": usage.agents} if usage.agents else {},
    )


def reply_of_counts(
    told: Usage, chunks: int, request: Request, model: str | None, counter: Callable[[str | None], Counter]
) -> Reply:
    """An answer of which no text was kept, as a reply: what the service did not count is chunks and an estimate."""
    usage, counted_by = told, "usage"
    if usage.completion_tokens is None or usage.prompt_tokens is None:
        own = counter(model)
        counted_by = CHUNKS if usage.completion_tokens is None else own.name
        usage = own.completed(Usage(completion_tokens=chunks).then(usage), request.messages, "", 0)
    return Reply(
        text="",
        model=model,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        counted_by=counted_by,
        counted=told.completion_tokens is None,
    )


def counter_for(model: str | None, tokenizer: Path | None = None) -> Counter:
    """The best counter at hand for a model.  Raises UsageError for a named ``tokenizer`` that cannot be used."""
    if tokenizer is not None:
        return _named(tokenizer)
    found = next(_files_of(model), None) if model is not None else None
    if found is not None and (counter := _hugging_face(found)) is not None:
        return counter
    return _tiktoken(model) or Counter(ESTIMATE, lambda text: _estimated(len(text)))


def _estimated(characters: int) -> int:
    return -(-characters // int(CHARACTERS_A_TOKEN))


# ── a tokenizer.json ──────────────────────────────────────────────────────────────────────────────────────────────────


def _named(tokenizer: Path) -> Counter:
    file = tokenizer / "tokenizer.json" if tokenizer.is_dir() else tokenizer
    try:
        counter = _hugging_face(file)
    except (OSError, ValueError) as error:
        raise UsageError(f"--tokenizer {tokenizer}: {error}") from error
    if counter is None:
        raise UsageError(f"--tokenizer {tokenizer}: it is read by a package that is not here: pip install tokenizers")
    return counter


def _files_of(model: str) -> Iterator[Path]:
    """The tokenizer.json of a model: of the folder that its name is, or of the Hugging Face cache, newest first."""
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    folder = Path(model)
    if folder.is_absolute() and (folder / "tokenizer.json").is_file():
        yield folder / "tokenizer.json"
    if "/" in model and ".." not in model:
        snapshots = cache / f"models--{model.replace('/', '--')}" / "snapshots"
        yield from sorted(snapshots.glob("*/tokenizer.json"), key=lambda path: path.stat().st_mtime, reverse=True)


def _hugging_face(file: Path) -> Counter | None:
    """None where ``tokenizers`` is not installed.  Raises OSError and ValueError for a file that is none."""
    try:
        tokenizers = import_module("tokenizers")
    except ImportError:
        return None
    text = file.read_text(encoding="utf-8")
    try:
        encode = tokenizers.Tokenizer.from_str(text).encode
    except Exception as error:  # the package raises nothing narrower
        raise ValueError(f"{file} is no tokenizer.json: {error}") from error
    template = template_beside(file)

    def count(text: str) -> int:
        return len(encode(text, add_special_tokens=False).ids)

    if template is None:
        return Counter(f"{file}, no chat template beside it", count)
    return Counter(f"{file} and its chat template", count, lambda messages: count(template(messages)))


# ── tiktoken ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _tiktoken(model: str | None) -> Counter | None:
    if model is None:
        return None
    try:
        name = import_module("tiktoken.model").encoding_name_for_model(model)
    except (ImportError, KeyError):
        return None
    encoding = at_hand(name)
    if encoding is None:
        return None

    def count(text: str) -> int:
        return len(encoding.encode(text, disallowed_special=()))

    def prompt(messages: Messages) -> int:
        total = OF_THE_ANSWER
        for message in messages:
            total += OF_A_MESSAGE + count(str(message.get("role", ""))) + count(flat(message.get("content")))
            if message.get("name"):
                total += OF_A_NAME + count(str(message["name"]))
        return total

    return Counter(f"tiktoken {name}", count, prompt)
