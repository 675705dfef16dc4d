"""``ChatLoop``: a turn of a chat, with the guide's hooks.

A turn: the message is validated and sanitized, gets its context, goes to the model; the model's tools are run until it
answers; what was said goes into the history, which is trimmed when it is long.  Each step is an operation of the
monitor (``operations.py``).  A turn that fails leaves the history as it was.

The methods whose names begin with an underscore and that are described as hooks may be overridden; their names are
those of the guide.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypedDict

from perfsuite.chatloop import operations as names
from perfsuite.chatloop.calls import Call, Outcome, TookTooLong, amade, made
from perfsuite.chatloop.config import ChatLoopConfig
from perfsuite.chatloop.context import Context, Lookup
from perfsuite.chatloop.forking import Lock
from perfsuite.chatloop.model import Message, Model, ModelFailed, ModelReply, ModelTimeout, SimulatedModel, adopt_texts
from perfsuite.chatloop.monitor import PerformanceMonitor
from perfsuite.chatloop.resources import memory_bytes
from perfsuite.chatloop.sanitizing import InputRejected, sanitize, validate
from perfsuite.chatloop.timed import Operation
from perfsuite.chatloop.tools import ToolCall, ToolFailed, ToolResult, Tools, described, prepared, result_of, tools_of
from perfsuite.chatloop.workers import Owner, TooManyHanging
from perfsuite.heap import give_back
from perfsuite.trimming import TrimPolicy, TrimReport, trim

LOGGER = logging.getLogger("perfsuite.chatloop")
DEBUG_S = 1.0
"""With verbose_logging, operations that take longer are logged in detail."""
MANY = 1000
"""Messages whose removal leaves enough of the heap free to be given back."""


class TurnRunning(RuntimeError):
    """A second turn was begun while one was under way: a loop holds one conversation."""


@dataclass(slots=True)
class Conversation:
    """What a loop knows of its conversation: OpenAI-style messages, oldest first."""

    conversation_history: list[Message] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Turn:
    """What a turn did.  ``elapsed_ms`` is all of it, ``own_ms`` less the model and the tools."""

    answer: str
    elapsed_ms: float
    own_ms: float
    tools: Sequence[ToolResult]
    prompt_tokens: int | None
    completion_tokens: int | None
    trimmed: TrimReport | None


class Stats(TypedDict):
    """``_get_performance_stats``: last_operation_time in seconds, memory_utilization a share of what the process may
    have, memory_usage in MB, history_utilization of the safe size."""

    conversation_length: int
    max_safe_size: int
    history_utilization: float
    memory_usage: float
    memory_utilization: float
    last_operation_time: float
    turns: int
    trims: int
    tool_failures: int
    context_hits: int
    context_misses: int


class _Step:
    """One operation of a turn: timed by the monitor, then the hook is called."""

    __slots__ = ("_loop", "_name", "_run")

    def __init__(self, loop: ChatLoop, name: str) -> None:
        self._loop = loop
        self._name = name
        self._run: Operation = loop.monitor.operation(name)

    def __enter__(self) -> None:
        self._run.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._run.__exit__(kind, error, where)
        self._loop._monitor_performance(self._name, time.time() - (self._run.elapsed_ms or 0.0) / 1e3)


class ChatLoop:
    """A conversation with a model.

    config: a ChatLoopConfig, settings by name, a preset's name, or None for what the environment says.
    model: a function of messages [the reference system's simulated model, at once].
    tools: functions by name, or functions; the model asks for them by name.
    context: a function from a message to what is known about it.
    monitor: shared between loops, or this one's own.

    ``run_iteration`` for a plain model and plain tools, ``arun_iteration`` for any.  One turn at a time.
    """

    def __init__(
        self,
        config: ChatLoopConfig | Mapping[str, Any] | str | None = None,
        *,
        model: Model | None = None,
        tools: Tools | Iterable[Callable[..., Any]] = (),
        context: Lookup | None = None,
        monitor: PerformanceMonitor | None = None,
    ) -> None:
        self.config = ChatLoopConfig.of(config)
        self.model: Model = SimulatedModel() if model is None else model
        self.tools = tools_of(tools)
        self.context = Context(context, self.config.context_cache_size)
        debug_s = DEBUG_S if self.config.verbose_logging else None
        self.monitor = PerformanceMonitor(debug_s=debug_s) if monitor is None else monitor
        self.ctx = Conversation()
        if self.config.system_prompt is not None:
            self.ctx.conversation_history.append({"role": "system", "content": self.config.system_prompt})
        self.last_turn: Turn | None = None
        self.turns = self.trims = self.tool_failures = 0
        self._policy_kept: TrimPolicy | None = None
        self._of_model, self._of_tools, self._of_context = Owner(), Owner(), Owner()
        self._lock = Lock()
        self._running = False

    # ── turns ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def run_iteration(self, user_input: str) -> str:
        """The answer to a message.

        Raises InputRejected for a message that is not taken, ModelTimeout and ModelFailed; a tool that fails is told to
        the model.  TypeError where the model or a tool is async, TurnRunning when a turn is under way.
        """
        with self._one_turn():
            turn = self._turn(user_input)
            try:
                calls = next(turn)
                while True:
                    calls = turn.send(made(calls))
            except StopIteration as end:
                return str(end.value)
            finally:
                turn.close()

    async def arun_iteration(self, user_input: str) -> str:
        """As ``run_iteration``, in a running event loop: what is async is awaited, what is not is called in threads."""
        with self._one_turn():
            turn = self._turn(user_input)
            try:
                calls = next(turn)
                while True:
                    calls = turn.send(await amade(calls))
            except StopIteration as end:
                return str(end.value)
            finally:
                turn.close()

    @contextmanager
    def _one_turn(self) -> Generator[None, None, None]:
        with self._lock:
            if self._running:
                raise TurnRunning("a turn is under way: a loop holds one conversation, make another for another")
            self._running = True
        try:
            yield
        finally:
            self._running = False

    def _turn(self, user_input: str) -> Generator[list[Call], list[Outcome], str]:
        began = time.monotonic_ns()
        self._waited_ns = 0
        history = self.ctx.conversation_history
        adopt_texts(history)
        try:
            trimmed = self._trimmed() if self._must_trim() else None
            with self._timed(names.INPUT_VALIDATION):
                text = self._validate_input(user_input)
            with self._timed(names.CONTENT_SANITIZATION):
                text = self._sanitize_content(text)
            with self._timed(names.CONTEXT_INJECTION):
                (outcome,) = yield [
                    Call(self._inject_context, self._of_context, (text,), apart=self.context.lookup is not None)
                ]
                if outcome.error is not None:
                    raise outcome.error
                prompt = outcome.value
            said: list[Message] = [{"role": "user", "content": text}]
            reply, results = yield from self._answered([*history, {"role": "user", "content": prompt}], said)
            said.append({"role": "assistant", "content": reply.text})
            history.extend(said)
            if self._should_trim_memory():
                trimmed = self._trimmed()
        except GeneratorExit:  # given up from outside, neither answered nor failed
            raise
        except BaseException:
            self._count(began, success=False)
            raise
        elapsed_ms, own_ms = self._count(began, success=True)
        self.last_turn = Turn(
            reply.text, elapsed_ms, own_ms, tuple(results), reply.prompt_tokens, reply.completion_tokens, trimmed
        )
        return reply.text

    def _count(self, began_ns: int, *, success: bool) -> tuple[float, float]:
        elapsed_ns = time.monotonic_ns() - began_ns
        own_ms = max(0, elapsed_ns - self._waited_ns) / 1e6
        if success:
            self.turns += 1
        if self.config.performance_monitoring:
            if success:
                self.monitor.record_operation(names.COMPLETE_ITERATION, own_ms)
                self._monitor_performance(names.COMPLETE_ITERATION, time.time() - own_ms / 1e3)
            self.monitor.record_request(elapsed_ns / 1e6, success=success)
        return elapsed_ns / 1e6, own_ms

    def _answered(
        self, messages: list[Message], said: list[Message]
    ) -> Generator[list[Call], list[Outcome], tuple[ModelReply, list[ToolResult]]]:
        """The model's answer, after the tools that it asks for; what is said on the way is added to ``said``."""
        config = self.config
        results: list[ToolResult] = []
        rounds = 0
        while True:
            with self._timed(names.LLM_INVOCATION):
                call = Call(self.model, self._of_model, (messages,), timeout_s=config.llm_timeout_s)
                (outcome,) = yield from self._waiting([call])
                reply = self._replied(outcome)
            self._tell(reply)
            if not reply.tool_calls:
                return reply, results
            rounds += 1
            if rounds > config.max_tool_rounds:
                raise ModelFailed(
                    f"the model asked for tools in {rounds} answers in a row, {config.max_tool_rounds} are allowed "
                    "(max_tool_rounds)"
                )
            asked: Message = {"role": "assistant", "content": reply.text,
                              "tool_calls": [call.message() for call in reply.tool_calls]}  # fmt: skip
            done = yield from self._run_tools(reply.tool_calls)
            results += done
            new = [asked, *(result.message() for result in done)]
            said += new
            messages = [*messages, *new]

    def _replied(self, outcome: Outcome) -> ModelReply:
        error = outcome.error
        if isinstance(error, TookTooLong):
            raise ModelTimeout(
                f"the model was not back after {self.config.llm_timeout_s:g} s (llm_timeout_s)"
            ) from error
        if isinstance(error, TooManyHanging):
            raise ModelFailed(f"the model is not called: {error}") from error
        if error is not None:
            raise ModelFailed(f"the model raised {type(error).__name__}: {error}") from error
        return ModelReply.of(outcome.value)

    def _run_tools(self, calls: Sequence[ToolCall]) -> Generator[list[Call], list[Outcome], list[ToolResult]]:
        """One after another, or those of one answer at the same time."""
        config = self.config
        ready = [
            prepared(call, place, self.tools, config.max_tools, config.tool_timeout_s, self._of_tools)
            for place, call in enumerate(calls)
        ]
        wanted = [one for one in ready if isinstance(one, Call)]
        outcomes: list[Outcome] = []
        if config.parallel_tools and len(wanted) > 1:
            with self._timed(names.TOOL_EXECUTION_PARALLEL):
                outcomes = yield from self._waiting(wanted)
        else:
            for one in wanted:
                outcomes += yield from self._waiting([one])
        left = iter(outcomes)
        results = [
            one if isinstance(one, ToolResult) else result_of(call, next(left), config.max_tool_result)
            for call, one in zip(calls, ready, strict=True)
        ]
        for result in results:
            self.tool_failures += result.failed is not None
            if config.performance_monitoring:
                failed = None if result.failed is None else ToolFailed
                self.monitor.record_operation(names.TOOL_EXECUTION, result.elapsed_ms, failed)
                self._monitor_performance(names.TOOL_EXECUTION, time.time() - result.elapsed_ms / 1e3)
            if config.show_tool_details:
                LOGGER.info("tool %s", described(result))
        return results

    def _waiting(self, calls: list[Call]) -> Generator[list[Call], list[Outcome], list[Outcome]]:
        """The model's and the tools' time is not the loop's own."""
        began = time.monotonic_ns()
        outcomes = yield calls
        self._waited_ns += time.monotonic_ns() - began
        return outcomes

    def _tell(self, reply: ModelReply) -> None:
        if self.config.show_token_usage and reply.prompt_tokens is not None:
            LOGGER.info("tokens: %d prompt, %s completion", reply.prompt_tokens, reply.completion_tokens)
        if self.config.show_llm_reasoning and reply.reasoning:
            LOGGER.info("reasoning: %s", reply.reasoning)

    def _timed(self, name: str) -> AbstractContextManager[None]:
        return _Step(self, name) if self.config.performance_monitoring else nullcontext()

    # ── the history ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _must_trim(self) -> bool:
        """Above the emergency threshold the history is trimmed before a turn, not only after one."""
        return len(self.ctx.conversation_history) > self.config.max_safe_size * self.config.emergency_threshold

    def _trimmed(self) -> TrimReport:
        with self._timed(names.MEMORY_TRIMMING):
            report = self._trim_conversation_history_incremental()
        if report.removed:
            self.trims += 1
            with self._timed(names.MEMORY_CLEANUP):
                self._cleanup_memory()
            if report.removed >= MANY:
                give_back()
        return report

    def _policy(self) -> TrimPolicy:
        """Trims whenever there are more than a few messages above the safe level, for when to trim is
        _should_trim_memory's to say; down to that level however many messages a turn has (with tools it has more than
        two), or the next turn would begin above the threshold again."""
        turns = max(1, int(self.config.max_history_pairs * self.config.safe_trim_level))
        if self._policy_kept is None or self._policy_kept.max_history_pairs != turns:
            self._policy_kept = TrimPolicy(turns, trim_threshold=1.0, safe_trim_level=1.0, emergency_threshold=1.0)
        return self._policy_kept

    # ── hooks ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _should_trim_memory(self) -> bool:
        """Hook: whether the history is trimmed now.  By default above trim_threshold × the safe size."""
        return len(self.ctx.conversation_history) > self.config.max_safe_size * self.config.trim_threshold

    def _trim_conversation_history_incremental(self) -> TrimReport:
        """Hook: shortens the history, to safe_trim_level × max_history_pairs turns."""
        adopt_texts(self.ctx.conversation_history)
        return trim(self.ctx.conversation_history, self._policy())

    def _validate_input(self, user_input: str) -> str:
        """Hook: the message, or InputRejected."""
        return validate(user_input, self.config.max_input_length)

    def _sanitize_content(self, text: str) -> str:
        """Hook: the message without what nobody should read; InputRejected when nothing is left."""
        clean = sanitize(text)
        if not clean or clean.isspace():
            raise InputRejected("empty", "the message has nothing but characters that are taken out")
        return clean

    def _inject_context(self, user_input: str) -> str:
        """Hook: the message as the model gets it, with its context before it.  The history keeps it without."""
        found = self.context.find(user_input, self.config.context_mode, self.config.context_budget_ms)
        return f"{found}\n\n{user_input}" if found else user_input

    def _monitor_performance(self, operation: str, start_time: float) -> None:
        """Hook: called at the end of each operation, which the monitor has timed and logged by then.

        ``start_time``: seconds since 1970, such that ``time.time() - start_time`` is what the operation took.
        """

    def _cleanup_memory(self) -> None:
        """Hook: called after a trim that removed something.  By default, context that was kept is forgotten, for it may
        be of what is gone."""
        self.context.clear()

    def _get_memory_usage(self) -> float:
        """Hook: resident memory of this process in MB."""
        return memory_bytes() / 1e6

    def _get_performance_stats(self) -> Stats:
        """Hook: how the loop is doing; see Stats."""
        data = self.monitor.dashboard_data()
        length = len(self.ctx.conversation_history)
        return Stats(
            conversation_length=length,
            max_safe_size=self.config.max_safe_size,
            history_utilization=length / self.config.max_safe_size,
            memory_usage=self._get_memory_usage(),
            memory_utilization=data["memory_utilization"],
            last_operation_time=(data["last_operation_time_ms"] or 0.0) / 1e3,
            turns=self.turns,
            trims=self.trims,
            tool_failures=self.tool_failures,
            context_hits=self.context.hits,
            context_misses=self.context.misses,
        )
