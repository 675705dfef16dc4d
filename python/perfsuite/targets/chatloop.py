"""A chat loop as a target: ``chatloop``, the package's own, or ``chatloop:module:Class``, one of yours.

Each conversation has a loop of its own, made when its first message comes; of the conversations that were not heard of
for the longest time the loops are let go, and are given the history that a message brings along when they come back.
"""

from __future__ import annotations

import inspect
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from perfsuite.chatloop.loop import ChatLoop
from perfsuite.chatloop.model import Message, ModelFailed, ModelTimeout, SimulatedModel
from perfsuite.chatloop.sanitizing import InputRejected
from perfsuite.errors import UsageError
from perfsuite.targets.base import Failure, Reply, Request, Target
from perfsuite.targets.in_process import InProcess

if TYPE_CHECKING:
    from perfsuite._core import Row
    from perfsuite.chatloop.monitor import PerformanceMonitor
    from perfsuite.plan import Plan

MOST_LOOPS = 1000
"""Conversations whose loops are kept."""
WINDOW = 20
"""Messages that the simulated model reads, the newest."""
ASKED = 3
"""Tools that it asks for at a time."""
EVERY = 5
"""In a message of so many."""

_WORD = re.compile(r"\w+")


def make(plan: Plan, rest: str, workdir: Path) -> Target:
    """The target ``chatloop``."""
    return ChatLoopTarget(rest)


class ReferenceLoopModel:
    """The reference system's simulated model, which reads the newest messages and asks for tools now and then."""

    def __init__(self) -> None:
        self._model = SimulatedModel()
        self._asked = 0

    def __call__(self, messages: list[Message]) -> object:
        if messages[-1]["role"] == "user":
            self._asked += 1
            if self._asked % EVERY == 0:
                text = str(messages[-1]["content"])[:1000]
                calls = [{"id": f"call-{i}", "name": name, "args": {"text": text}} for i, name in enumerate(TOOLS)]
                return {"content": "", "tool_calls": calls[:ASKED]}
        return self._model([one for one in messages[-WINDOW:] if one["role"] != "tool"])


def count_words(text: str) -> dict[str, int]:
    """How often each word is there."""
    found: dict[str, int] = {}
    for word in _WORD.findall(text.lower()):
        found[word] = found.get(word, 0) + 1
    return found


def longest_words(text: str) -> list[str]:
    """The ten longest words."""
    return sorted(set(_WORD.findall(text)), key=len, reverse=True)[:10]


def outline(text: str) -> str:
    """Each sentence's beginning."""
    return "\n".join(sentence.strip()[:40] for sentence in text.split(".") if sentence.strip())


TOOLS: dict[str, Callable[..., object]] = {
    "count_words": count_words,
    "longest_words": longest_words,
    "outline": outline,
}
"""Of the reference loop: real functions, quick ones."""


def reference_loop() -> ChatLoop:
    """The package's own loop: only its model is simulated."""
    from perfsuite.reference.model import find_statement

    loop = ChatLoop("production", model=ReferenceLoopModel(), tools=TOOLS)

    def known(text: str) -> str | None:
        said = [str(one["content"]) for one in loop.ctx.conversation_history[-WINDOW:] if one["role"] == "user"]
        found = find_statement("\n".join(said), text)
        return None if found is None else f"You were told: {found}"

    loop.context.lookup = known
    loop.config.show_token_usage = False
    return loop


def find(rest: str) -> Callable[[], ChatLoop]:
    """What makes a loop: of ``module:Class`` (or a function), or the package's own.  Raises UsageError."""
    if not rest:
        return reference_loop
    from perfsuite.targets.function import load_function

    factory = load_function(rest)
    if inspect.isclass(factory) and not issubclass(factory, ChatLoop):
        raise UsageError(
            f"chatloop:{rest} is no perfsuite.ChatLoop; extend it, or measure a function with python:{rest}"
        )
    return cast("Callable[[], ChatLoop]", factory)


class ChatLoopTarget(InProcess):
    """Chat loops behind the protocol of targets."""

    stamps = "monotonic clock, in the process, around each turn"

    def __init__(self, rest: str = "") -> None:
        self.name = f"chatloop:{rest}" if rest else "chatloop"
        self._rest = rest
        self._make = find(rest)
        self._loops: OrderedDict[str, ChatLoop] = OrderedDict()
        self.simulated: tuple[str, ...] = (
            () if rest else ("language model: answers are extracted from the prompt, at once",)
        )

    @property
    def loop_name(self) -> str:
        """What stands after ``chatloop:``, for a process that makes its own loops; empty for the package's."""
        return self._rest

    def new_loop(self, monitor: PerformanceMonitor | None = None) -> ChatLoop:
        """A loop with nothing said yet.  Raises UsageError where the target makes something else."""
        loop = self._make()
        if not isinstance(loop, ChatLoop):
            raise UsageError(f"{self.name} gave an object of type {type(loop).__name__}; it must give a ChatLoop")
        if monitor is not None:
            loop.monitor = monitor
        return loop

    async def open(self) -> None:
        """Raises UsageError for a target that cannot make a loop."""
        self.new_loop()

    async def send(self, request: Request, row: Row) -> Reply:
        """One turn; its answer is one chunk."""
        loop = self._loops.get(request.conversation_id)
        if loop is None:
            loop = self.new_loop()
            loop.ctx.conversation_history += [dict(message) for message in request.messages[:-1]]
            self._loops[request.conversation_id] = loop
            if len(self._loops) > MOST_LOOPS:
                self._loops.popitem(last=False)
        else:
            self._loops.move_to_end(request.conversation_id)
        row.sent()
        try:
            text = await loop.arun_iteration(request.message)
        except ModelTimeout as error:
            raise Failure("timeout", str(error)) from error
        except (InputRejected, ModelFailed) as error:
            raise Failure("target", str(error)) from error
        except Exception as error:
            raise Failure("target", f"{type(error).__name__}: {error}") from error
        row.token()
        turn = loop.last_turn
        return Reply(
            text=text,
            prompt_tokens=None if turn is None else turn.prompt_tokens,
            completion_tokens=None if turn is None else turn.completion_tokens,
            counted_by="the loop's model",
        )

    async def close(self) -> None:
        """Lets the loops go."""
        self._loops.clear()
