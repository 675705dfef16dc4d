"""The simulated language models: the only part of the reference system that is not real.

A model takes a rendered prompt, waits as long as its specification says, and streams an answer that it extracts from
that prompt and from nothing else: what the context lost, the answer has lost.  Its weights are memory that is really
allocated and touched, and given back when another model is loaded.
"""

from __future__ import annotations

import asyncio
import re
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from mmap import mmap

from perfsuite.errors import PerfsuiteError, unknown
from perfsuite.reference.configuration import MIB, ModelSpec
from perfsuite.reference.tokenizer import END, SEP, START, count_prompt, pieces

_WORD = re.compile(r"[a-z0-9]+")
_CLOSING = re.compile(r"[.!?](?=\s|$)|[\n\x01\x02\x03]")
_QUESTION = re.compile(r"\?\s*$")
_ASKING = re.compile(r"^(?:\[\w+\] )?(?:tell|remind|list|give|show|describe|explain|repeat)\b", re.IGNORECASE)
STOP_WORDS = frozenset(
    """
    a about again all am an and any are as at be been but by can could did do does everything for from get give
    going had has have he her him his how i if in into is it its just know let like list me mine more my no not
    now of on or our please remember remind say she should show so some tell than that the their them then there
    these they this those to told up us was we were what when where which who whom whose why will with would you
    your
    """.split()  # noqa: SIM905 - a list of words is read as one
)
SMALL_TALK = (
    "That is clear, thank you; it fits with what you said before, so please go on whenever you are ready to.",
    "I have read that with care and there is nothing that I would add to it at this point in our talk.",
    "Good to know; I would look at the details once more before drawing a conclusion from them, if there is time.",
    "Thank you for explaining; that answers what I wanted to ask you next, and I have no further doubts about it.",
)
UNKNOWN = "I am sorry, but I do not find anything about that in what you have told me so far in our conversation."


class PromptTooLong(PerfsuiteError):
    """The prompt does not fit the model's context window."""


def content_words(text: str) -> list[str]:
    """The words that carry a text's meaning, in order, each once."""
    return list(dict.fromkeys(word for word in _WORD.findall(text.lower()) if word not in STOP_WORDS))


def is_question(text: str) -> bool:
    """Whether a message asks for something."""
    return bool(_QUESTION.search(text) or _ASKING.match(text))


def answer(prompt: str) -> str:
    """What the models say to a prompt: the latest statement in it that is about what its last message asks."""
    body, _, last = prompt.rpartition(f"{START}user")
    question = last.partition(SEP)[2].partition(END)[0]
    if body.startswith(f"{START}system{SEP}Plan:"):
        return "recall" if is_question(question) else "answer"
    if body.startswith(f"{START}system{SEP}Extract:"):
        return " ".join(worth_remembering(question)) or "none"
    if not is_question(question):
        return SMALL_TALK[zlib.crc32(question.encode("utf-8", "replace")) % len(SMALL_TALK)]
    found = find_statement(body, question)
    return f"You told me: {found}" if found is not None else UNKNOWN


def worth_remembering(numbered: str) -> list[str]:
    """Numbers of the lines ``N. sentence`` that state something."""
    found = []
    for line in numbered.split("\n"):
        number, _, sentence = line.partition(". ")
        if number.isdigit() and not is_question(sentence) and len(content_words(sentence)) >= 2:
            found.append(number)
    return found


def find_statement(body: str, question: str) -> str | None:
    """The latest sentence with all content words of the question; failing that, with most of them (60 %)."""
    words = content_words(question)
    if not words:
        return None
    low = body.lower()
    if len(low) != len(body):  # a character whose lower case is longer: keep positions alike
        low = "".join(small if len(small := character.lower()) == 1 else character for character in body)
    best, best_share = None, 0.6
    for key in sorted(words, key=len, reverse=True)[:2]:
        end = len(low)
        for _ in range(64):
            at = low.rfind(key, 0, end)
            if at < 0:
                break
            begin, stop = _sentence(body, at)
            end = begin
            sentence = body[begin:stop].strip()
            if sentence.endswith("?"):
                continue
            known = set(_WORD.findall(low[begin:stop]))
            share = sum(word in known for word in words) / len(words)
            if share == 1.0:
                return sentence
            if share > best_share:
                best, best_share = sentence, share
    return best


def _sentence(text: str, at: int) -> tuple[int, int]:
    begin = max(text.rfind(mark, 0, at) + 1 for mark in (". ", "! ", "? ", "\n", SEP, END, "me: "))
    closing = _CLOSING.search(text, at)
    if closing is None:
        return begin, len(text)
    return begin, closing.end() if closing.group() in ".!?" else closing.start()


class SimulatedModel:
    """A model by its specification.  ``load`` and ``release`` hold and give back its weights."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self._weights: mmap | None = None

    @property
    def resident_bytes(self) -> int:
        """Bytes of weights that are held now."""
        return 0 if self._weights is None else len(self._weights)

    async def load(self) -> None:
        """Allocates the weights and touches every page, a MiB at a time so that others run in between; then waits the
        stated rest of the load time."""
        if self.spec.weights_bytes and self._weights is None:
            weights = mmap(-1, self.spec.weights_bytes)
            block = b"\x01" * MIB
            for start in range(0, len(weights), MIB):
                size = min(MIB, len(weights) - start)
                weights[start : start + size] = block[:size]
                await asyncio.sleep(0)
            self._weights = weights
        if self.spec.load_ms:
            await asyncio.sleep(self.spec.load_ms / 1e3)

    def release(self) -> None:
        """Gives the weights' memory back to the system."""
        if self._weights is not None:
            self._weights.close()
            self._weights = None

    async def stream(self, prompt: str, max_tokens: int) -> AsyncIterator[str]:
        """The answer's tokens, each when it is due: the delays are from the call and do not add up late wake-ups.

        Raises PromptTooLong when the prompt and max_tokens are more than the window.
        """
        began = time.monotonic()
        size = count_prompt(prompt)
        if size + max_tokens > self.spec.window_tokens:
            raise PromptTooLong(
                f"{self.spec.name} takes {self.spec.window_tokens} tokens; the prompt has {size} and the answer may "
                f"have {max_tokens}"
            )
        due = began + self.spec.ttft_ms / 1e3
        for piece in pieces(answer(prompt))[:max_tokens]:
            delay = due - time.monotonic()
            if delay > 0:
                await asyncio.sleep(delay)
            yield piece
            due += self.spec.token_ms / 1e3


class ModelPool:
    """Several models of which one is loaded at a time, as on a machine with room for one.

    Requests are admitted in the order of their arrival: one for another model waits until the requests under way have
    ended, then the loaded model is released and the other loaded; those that come after it wait behind it.
    """

    def __init__(self, specs: tuple[ModelSpec, ...]) -> None:
        self.models = {spec.name: SimulatedModel(spec) for spec in specs}
        self.switches = 0
        self._loaded: SimulatedModel | None = None
        self._gate = asyncio.Lock()
        self._users = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def loaded(self) -> str | None:
        """The model whose weights are held."""
        return None if self._loaded is None else self._loaded.spec.name

    @property
    def resident_bytes(self) -> int:
        """Bytes of weights that are held by all models."""
        return sum(model.resident_bytes for model in self.models.values())

    def get(self, name: str) -> SimulatedModel:
        """The model of that name; UsageError when there is none."""
        if name not in self.models:
            raise unknown("model", name, self.models, "the reference system")
        return self.models[name]

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[SimulatedModel]:
        """The model, loaded, until the block ends."""
        wanted = self.get(name)
        async with self._gate:
            if self._loaded is not wanted:
                await self._idle.wait()
                await self._switch(wanted)
            self._users += 1
            self._idle.clear()
        try:
            yield wanted
        finally:
            self._users -= 1
            if not self._users:
                self._idle.set()

    async def _switch(self, wanted: SimulatedModel) -> None:
        if self._loaded is not None:
            self._loaded.release()
            self._loaded = None
            self.switches += 1
        try:
            await wanted.load()
        except BaseException:
            wanted.release()
            raise
        self._loaded = wanted

    def close(self) -> None:
        """Releases every model."""
        for model in self.models.values():
            model.release()
        self._loaded = None
