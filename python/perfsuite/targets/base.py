"""What a system under test looks like to the suite."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from perfsuite._core import Row
    from perfsuite.chatloop.loop import ChatLoop
    from perfsuite.chatloop.monitor import PerformanceMonitor
    from perfsuite.memory.host import Hosted

Message = Mapping[str, object]
"""An OpenAI-style message: ``role``, ``content`` and what else it carries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something planted in a conversation that is asked for later.  ``value`` appears nowhere else."""

    key: str
    value: str
    statement: str
    question: str
    turn: int


@dataclass(slots=True, kw_only=True)
class Request:
    """One message to the system.

    ``message`` is the new user text, ``messages`` the whole conversation as a stateless service needs it, the new one
    last.  ``expects`` is the fact that the message asks for, ``age`` the turns since it was planted.  ``headers`` go
    with it, besides those of the target, where there are headers.
    """

    message: str
    messages: Sequence[Message]
    user_id: str
    conversation_id: str
    model: str | None = None
    max_tokens: int | None = None
    expects: Fact | None = None
    age: int = 0
    headers: Sequence[tuple[str, str]] = ()


@dataclass(slots=True, kw_only=True)
class Reply:
    """What came back.  Token counts are None where the system does not tell them and no tokenizer is at hand.

    ``context`` is the prompt that the system assembled, where it shows it.  ``ended_ns`` is when the answer ended, on
    the clock of ``time.monotonic_ns``, where that was elsewhere than in the coroutine that gives this reply.  ``times``
    are further ones of this answer, in ms from its send, by name (``first_audio``).  ``counted``: the completion tokens
    are our own count (``counted_by`` says whose), for the service told none.
    """

    text: str
    model: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    counted_by: str = "usage"
    counted: bool = False
    context: Sequence[Message] | None = None
    ended_ns: int | None = None
    times: Mapping[str, float] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)


class Failure(Exception):
    """A request that failed: a row of the result, not an error of the run.

    ``kind`` is one of ``_core.ERROR_KINDS`` (``timeout``, ``target``, …), the text says what happened.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@runtime_checkable
class Target(Protocol):
    """A system under test.  ``send`` stamps ``row`` as things happen: ``row.sent()`` when the request leaves,
    ``row.token(n)`` for each content chunk; the driver ends the row.  It raises Failure for a failed request."""

    name: str
    simulated: tuple[str, ...]
    """What of this system is simulated, for every output to say."""

    @property
    def stamps(self) -> str:
        """Where the times of its tokens come from: which clock, read where."""

    @property
    def inspection(self) -> Inspection | None:
        """What the system shows of its inside; None for a black box."""

    @property
    def process_ids(self) -> Sequence[int]:
        """The processes of the system on this machine, as far as known; this one when it is embedded."""

    @property
    def models(self) -> Sequence[str]:
        """The models it can be asked for; the first is its default."""

    async def open(self) -> None: ...

    async def send(self, request: Request, row: Row) -> Reply: ...

    async def close(self) -> None: ...


@runtime_checkable
class Warns(Protocol):
    """A target that may have something to say about how it was measured."""

    @property
    def warnings(self) -> Sequence[str]:
        """What a reader of the result has to know, a sentence each, so far; also after ``close``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsPage:
    """Where a server may show its own metrics, as Prometheus text.  ``headers`` may hold keys: they are in no repr."""

    scheme: str
    host: str
    port: int
    authority: str
    path: str
    headers: Sequence[tuple[str, str]] = field(default=(), repr=False)

    @property
    def url(self) -> str:
        """For people."""
        return f"{self.scheme}://{self.authority}{self.path}"


@runtime_checkable
class CountsTokens(Protocol):
    """A target whose prompts can be counted before they are sent, by the model's own tokenizer."""

    @property
    def models(self) -> Sequence[str]: ...

    def counter(self, model: str | None) -> tuple[str, Callable[[Sequence[Message]], int]] | None:
        """How it counts, in words, and the tokens of messages, the chat template's included; None without a
        tokenizer or a template."""


@runtime_checkable
class ShowsMetrics(Protocol):
    """A target whose servers may have a metrics page each: for each server the places where it may be."""

    @property
    def metrics_pages(self) -> Sequence[Sequence[MetricsPage]]: ...


@runtime_checkable
class OverWire(Protocol):
    """A target behind a network address: what reaches it has an error of its own."""

    @property
    def schemes(self) -> Sequence[str]:
        """``http``, ``https``: those of its addresses."""

    @property
    def driver(self) -> str:
        """What sends and stamps where no engine in C does: ``asyncio``, or ``httpx`` through a proxy."""


@runtime_checkable
class MemoryUnderTest(Protocol):
    """A target that is a memory system, or has one inside.  ``chats``: it can be sent messages as well."""

    chats: bool

    simulated: tuple[str, ...]

    def started(
        self,
        *,
        workdir: Path,
        model_url: str | None,
        dim: int,
        timeout_s: float,
        options: Mapping[str, object],
        meter: Callable[[], Mapping[str, float]] | None,
    ) -> AbstractAsyncContextManager[Hosted]:
        """The system in a process of its own, opened on ``workdir``; see ``Hosted.start``."""

    def tier_options(self, count: int) -> Mapping[str, object]:
        """The options that let ``count`` memories reach all of the system's tiers."""


class AgentCall(NamedTuple):
    """One call of a model by a named component of the system; ``model`` None where that is not told."""

    agent: str
    model: str | None
    prompt_tokens: int
    completion_tokens: int

    @property
    def tokens(self) -> int:
        """Prompt and answer together."""
        return self.prompt_tokens + self.completion_tokens


@runtime_checkable
class MakesLoops(Protocol):
    """A target whose system is a chat loop, or has one."""

    @property
    def loop_name(self) -> str:
        """What stands after ``chatloop:`` for a process that makes its own; empty for the package's."""

    def new_loop(self, monitor: PerformanceMonitor | None = None) -> ChatLoop:
        """A loop with nothing said yet."""


class Codec(Protocol):
    """Compresses what is stored."""

    @property
    def name(self) -> str: ...

    def compress(self, data: bytes, /) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """A context that the system put together for a question.

    ``tokens`` by the system's own counter; ``memories`` are the ids of the memories placed in it, ``dropped`` counts
    what did not fit.
    """

    messages: Sequence[Message]
    tokens: int
    memories: Sequence[str]
    dropped: int = 0


class Inspection(Protocol):
    """The inside of an embedded system, as far as the phases' metrics need it."""

    def cache_counts(self) -> tuple[int, int]:
        """(hits, misses) of the embedding cache since the system started."""

    def codec(self) -> Codec:
        """The codec in use for stored conversations."""

    def strongest_codec(self) -> Codec:
        """The same codec at its strongest setting."""

    def stored_conversations(self, minimum_bytes: int = 0) -> Iterator[tuple[bytes, bytes]]:
        """(original, stored) bytes of each conversation in compressed storage whose original is that large."""

    def store_conversation(self, messages: Sequence[Message], *, user_id: str, conversation_id: str) -> None:
        """Puts a whole finished conversation into compressed storage."""

    def transcript(self, conversation_id: str) -> Sequence[Message]:
        """A conversation as it comes out of storage."""

    def footprint_command(self, *, compressed: bool) -> Sequence[str]:
        """A command that stores the conversations on its standard input (a JSON list of messages a line) in memory,
        with or without compression, and prints its resident memory as JSON: ``before`` and ``after``, in bytes; with
        ``held``, what they take by the store's own word, resident memory that grew by less is not taken for them."""

    def remember(self, text: str, *, user_id: str) -> str:
        """Stores one memory; returns its id."""

    def assemble(self, question: str, *, user_id: str, conversation_id: str, budget_tokens: int) -> Assembled:
        """The context for a question, within a budget of tokens."""

    def search(self, question: str, *, user_id: str, k: int) -> Sequence[str]:
        """The ids of a user's memories that are nearest to a question, the nearest first."""

    def agent_calls(self, conversation_id: str) -> Sequence[AgentCall]:
        """Every call of a model for a conversation so far, oldest first."""

    def models_meant(self) -> Mapping[str, str]:
        """The model that each agent is meant to use."""

    def truncate(self, messages: Sequence[Message], budget_tokens: int) -> Sequence[Message]:
        """The history cut to a budget of tokens, as the system does it."""

    def count_tokens(self, messages: Sequence[Message], model: str) -> int:
        """The system's own counter, the chat template's tokens included: the counter under test."""

    def true_tokens(self, messages: Sequence[Message], model: str) -> int:
        """The model's own tokenizer over the rendered prompt: independent of the counter under test."""

    def resident_bytes(self) -> int:
        """Bytes of the model resources that are held now, as the system accounts for them."""
