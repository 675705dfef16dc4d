"""Stress: the largest message, as many tools as are allowed and one more, tools that fail, 10,000 turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from perfsuite._core import Histogram
from perfsuite.chatloop.calls import is_async
from perfsuite.chatloop.monitor import PerformanceMonitor
from perfsuite.chatloop.operations import COMPLETE_ITERATION
from perfsuite.chatloop.sanitizing import InputRejected
from perfsuite.evidence import Evidence, Exact, NotMeasured, Samples
from perfsuite.suites.chatloop.turns import maker, messages, say, taken, warm

if TYPE_CHECKING:
    from perfsuite.chatloop.loop import ChatLoop
    from perfsuite.suites.session import Session

TURNS = 10_000
TOOL = "perfsuite_stress_tool"


async def measure(session: Session) -> Mapping[str, Evidence]:
    """Evidence for ``stress_failures``, ``history_share`` and ``complete_iteration``."""
    wrong: list[str] = []
    checks = 0
    for check in (_largest, _too_large, _hostile, _tools, _failing_tools):
        loop = maker(session).new_loop()
        try:
            found = await check(session, loop)
        except Exception as error:  # noqa: BLE001 - the system's under test: a finding
            found = f"{type(error).__name__}: {error}"
        checks += 1
        if found is not None:
            wrong.append(f"{(check.__doc__ or '').strip()} {found}")
    loop = maker(session).new_loop(PerformanceMonitor())
    config = loop.config
    texts = messages(session)
    blocks: list[Histogram] = []
    longest = turns = failed = 0

    def look() -> None:
        nonlocal longest
        longest = max(longest, len(loop.ctx.conversation_history))

    batch = await warm(session, loop, texts)
    while turns < TURNS and (session.remaining_s() > 0 or not turns):
        loop.monitor = PerformanceMonitor()
        failed += await say(session, loop, taken(texts, batch), look)
        turns += batch
        if COMPLETE_ITERATION in loop.monitor.statistics():
            blocks.append(loop.monitor.histogram(COMPLETE_ITERATION))
        session.progress(turns / TURNS)
    if failed:
        wrong.append(f"{failed:,} of {turns:,} turns failed.")
    for text in wrong:
        session.note(f"stress: {text}")
    most = config.max_safe_size * config.emergency_threshold
    details: dict[str, object] = {"checks": checks, "turns": turns, "of_turns": TURNS, "wrong": wrong}
    return {
        "stress_failures": Exact(
            value=float(len(wrong) - bool(failed) + failed), samples=checks + turns, details=details
        ),
        "history_share": Exact(value=longest / most, samples=turns, details={"longest": longest, "allowed": most}),
        "complete_iteration": _samples(blocks, turns),
    }


def _samples(blocks: list[Histogram], turns: int) -> Evidence:
    if not blocks:
        return NotMeasured("no turn was completed, or performance_monitoring is off")
    histogram = Histogram()
    for block in blocks:
        histogram.merge(block)
    return Samples(histogram=histogram, blocks=blocks, details={"turns": turns})


async def _largest(session: Session, loop: ChatLoop) -> str | None:
    """The largest message that is allowed is answered."""
    await _turn(loop, "x" * loop.config.max_input_length)
    return None


async def _too_large(session: Session, loop: ChatLoop) -> str | None:
    """One character more is refused, and nothing of it stays."""
    before = len(loop.ctx.conversation_history)
    try:
        await _turn(loop, "x" * (loop.config.max_input_length + 1))
    except InputRejected:
        after = len(loop.ctx.conversation_history)
        return None if after == before else f"{after - before} messages stayed"
    return "it was answered"


async def _hostile(session: Session, loop: ChatLoop) -> str | None:
    """Control and bidirectional characters and lone surrogates do not reach the history."""
    await _turn(loop, "hello \x1b[31m\u202egnihton\x00 \ud800 there")
    said = "".join(str(one.get("content")) for one in loop.ctx.conversation_history)
    left = sorted({hex(ord(one)) for one in said if one in "\x1b\u202e\x00\ud800"})
    return f"these did: {', '.join(left)}" if left else None


async def _tools(session: Session, loop: ChatLoop) -> str | None:
    """As many tools as are allowed run in one turn, one after another and in parallel, and the next one does not."""
    most = loop.config.max_tools
    for parallel in (False, True):
        loop.config.parallel_tools = parallel
        done = await _with_tools(loop, lambda: "done", most + 1)
        if (done, loop.config.parallel_tools) != ([None] * most + ["refused"], parallel):
            return f"of {most + 1} they ended so: {', '.join(map(str, done))}"
    return None


async def _failing_tools(session: Session, loop: ChatLoop) -> str | None:
    """A tool that raises and one that returns too much are failures that the model is told."""

    def raises() -> None:
        raise RuntimeError("on purpose")

    large = "x" * (loop.config.max_tool_result + 1)
    for tool, expected in ((raises, "raised"), (lambda: large, "too_large")):
        done = await _with_tools(loop, tool, 1)
        if done != [expected]:
            return f"it ended so: {', '.join(map(str, done))}"
    return None


async def _with_tools(loop: ChatLoop, tool: Callable[[], object], count: int) -> list[str | None]:
    """How so many calls of a tool in one turn ended."""
    model = loop.model
    asked = False

    def asks(messages: list[dict[str, Any]]) -> Any:
        nonlocal asked
        if asked:
            return model(messages)
        asked = True
        return {"content": "", "tool_calls": [{"name": TOOL, "args": {}, "id": str(i)} for i in range(count)]}

    async def asks_async(messages: list[dict[str, Any]]) -> Any:
        given = asks(messages)
        return await given if not isinstance(given, dict) else given

    loop.model = asks_async if is_async(model) else asks
    loop.tools[TOOL] = tool
    try:
        await _turn(loop, "use your tools")
    finally:
        loop.model = model
        del loop.tools[TOOL]
    turn = loop.last_turn
    return [] if turn is None else [result.failed for result in turn.tools if result.call.name == TOOL]


async def _turn(loop: ChatLoop, text: str) -> None:
    await loop.arun_iteration(text)
