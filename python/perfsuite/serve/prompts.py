"""The tokens of a prompt by the simulated models' own tokenizer, and the share that a prompt cache would have held."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import blake2b

from perfsuite.reference.tokenizer import count_prompt, render

CACHED_PREFIXES = 20_000
OPENING = count_prompt(render(()))
"""Tokens that open the answer, after all messages."""


class PromptCache:
    """Knows which prompts, message by message, were there before: as a server's prefix cache, without its keys and
    values.  The least recently used prefixes are forgotten."""

    def __init__(self, prefixes: int = CACHED_PREFIXES) -> None:
        self._prefixes = prefixes
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def count(self, model: str, messages: Sequence[Mapping[str, object]]) -> tuple[int, int]:
        """(tokens of the prompt, those of them that were known); from now on the whole prompt is known."""
        tokens = OPENING
        cached = 0
        matching = True
        digest = blake2b(model.encode("utf-8", "replace"), digest_size=16)
        for message in messages:
            rendered = render((message,))
            tokens += count_prompt(rendered) - OPENING
            digest.update(rendered.encode("utf-8", "replace"))
            key = digest.digest()
            if matching and key in self._known:
                cached = tokens - OPENING
                self._known.move_to_end(key)
            else:
                matching = False
                self._known[key] = None
        while len(self._known) > self._prefixes:
            self._known.popitem(last=False)
        return tokens, cached

    def clear(self) -> None:
        """Forgets everything."""
        self._known.clear()
