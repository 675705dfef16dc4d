"""The model that memory systems ask in a comparison: the stand-in, or the user's own endpoints behind a relay.

Either way each system has a URL of its own, so that its calls, characters and time of waiting are counted apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfsuite.errors import UsageError

if TYPE_CHECKING:
    from types import TracebackType

    from perfsuite.serve.relay import Relay, Upstream


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """``chat`` and ``embeddings``: the user's endpoints; None: the stand-in, which answers after the stated delays."""

    chat: Upstream | None = None
    embeddings: Upstream | None = None
    chat_ms: float = 0.0
    embedding_ms: float = 0.0


class Models:
    """Serves the systems of a comparison, in the running loop."""

    def __init__(self, settings: ModelSettings, dim: int) -> None:
        from perfsuite.serve.relay import Relay

        self.settings = settings
        self._relay: Relay = Relay(
            chat=settings.chat,
            embeddings=settings.embeddings,
            dim=dim,
            chat_ms=settings.chat_ms,
            embedding_ms=settings.embedding_ms,
        )

    async def __aenter__(self) -> Models:
        await self._relay.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._relay.close()

    def url_of(self, client: str) -> str:
        """The base URL for a system."""
        return self._relay.url_of(_safe(client))

    def meter(self, client: str) -> Mapping[str, float]:
        """What a system has asked so far, by the names of ``compared.ModelUse``."""
        counts = self._relay.counts(_safe(client))
        return {
            "chat_calls": counts.chat_calls,
            "embedding_calls": counts.embedding_calls,
            "prompt_characters": counts.chat_characters_in,
            "answer_characters": counts.chat_characters_out,
            "embedded_characters": counts.embedding_characters,
            "wait_ms": counts.busy_ms,
        }

    def trouble(self, client: str) -> list[str]:
        """What went wrong between a system and its model."""
        counts = self._relay.counts(_safe(client))
        found = list(self._relay.trouble(_safe(client)))
        if counts.refused and not found:
            found.append(f"{counts.refused:,} of its calls to the model were refused")
        if counts.unknown:
            found.append(f"{counts.unknown:,} of its calls asked for a structure that the stand-in does not know")
        return found

    def rests_on_stand_in(self, client: str) -> bool:
        """Whether a system was answered by the stand-in."""
        counts = self._relay.counts(_safe(client))
        chat = bool(counts.chat_calls) and self.settings.chat is None
        return chat or (bool(counts.embedding_calls) and self.settings.embeddings is None)

    @property
    def described(self) -> str:
        """In a sentence: the endpoints, and whether any system asked them."""
        settings = self.settings
        if not self._relay.clients:
            return "none was asked"
        stand_in = "the stand-in (canned answers"
        chat = f"{stand_in} after {settings.chat_ms:g} ms)" if settings.chat is None else settings.chat.described
        embeddings = (
            f"the stand-in (hashed, after {settings.embedding_ms:g} ms)"
            if settings.embeddings is None
            else settings.embeddings.described
        )
        return f"chat by {chat}; embeddings by {embeddings}"


def upstream(text: str, where: str, key: str | None) -> Upstream:
    """``MODEL@URL``: an OpenAI-compatible endpoint (its URL with or without ``/v1``) and the model to ask there."""
    from urllib.parse import urlsplit

    from perfsuite.serve.relay import Upstream

    model, at, url = text.rpartition("@")
    parts = urlsplit(url)
    if not at or not model or parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{where} {text}: write MODEL@URL, such as gpt-4o-mini@https://api.openai.com/v1")
    path = parts.path.rstrip("/")
    if not path.endswith("/v1"):
        path += "/v1"
    return Upstream(url=parts._replace(path=path, query="", fragment="").geturl(), model=model, key=key)


def _safe(client: str) -> str:
    return "".join(one if one.isascii() and (one.isalnum() or one in "-_.") else "_" for one in client) or "_"
