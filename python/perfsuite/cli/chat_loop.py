"""``perfsuite chat-loop``: the tests of the chat-loop guide, each a phase of ``perfsuite run``; and its profile."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace

from perfsuite.errors import PerfsuiteError, UsageError, unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from perfsuite.plan import Plan

PARTS = ("timings", "memory", "load", "stress", "leaks", "efficiency")
PROFILE = "profile"
TURNS = 300
"""Turns that are profiled at least, each way."""


def configure(parser: ArgumentParser) -> None:
    """What to run, and a flag for each setting."""
    from perfsuite.cli.options import add_settings

    add_settings(parser)
    for action in parser._actions:
        if action.dest == "names":
            action.metavar = "PART"
            action.help = f"{', '.join(PARTS)} [all of them], or {PROFILE}: where a turn's time goes"


def execute(arguments: Namespace) -> int:
    """Measures the parts; returns the verdict's exit code."""
    from perfsuite.cli import run

    parts = list(dict.fromkeys(arguments.names)) or list(PARTS)
    for part in parts:
        if part not in (*PARTS, PROFILE):
            raise unknown("part of chat-loop", part, (*PARTS, PROFILE))
    if PROFILE in parts:
        if len(parts) > 1:
            raise UsageError(f"{PROFILE} runs by itself: a profiled loop is slower")
        return _profile(arguments)
    arguments.names = [f"chat-loop-{part}" for part in parts]
    return run.execute(arguments)


def _profile(arguments: Namespace) -> int:
    """Profiles turns of a loop: the table on stdout, the flame graph and its stacks in the output folder."""
    from perfsuite.chatloop.profiling import call_profile, flame_graph, stack_samples, table
    from perfsuite.cli.options import plan_of
    from perfsuite.exports.files import write_atomically
    from perfsuite.exports.places import writable_folder
    from perfsuite.suites.chatloop.sizes import talk
    from perfsuite.targets.base import MakesLoops
    from perfsuite.targets.chatloop import ChatLoopTarget
    from perfsuite.workloads.requests import requests

    arguments.names = ["chat-loop-timings"]
    plan = plan_of(arguments)
    target = _loops(plan)
    assert isinstance(target, MakesLoops)
    assert isinstance(target, ChatLoopTarget)
    writable_folder(plan.output)
    source = requests(plan.seed, slots=1, workload=plan.workload, expecting=False)
    texts = [next(source).message for _ in range(TURNS)]
    loop = target.new_loop()
    loop.config.llm_timeout_s = loop.config.tool_timeout_s = None  # in this thread, where they are seen
    try:
        talk(loop, texts[:20])
    except Exception as error:
        raise PerfsuiteError(f"--target {plan.target}: a turn raised {type(error).__name__}: {error}") from error
    rows = call_profile(lambda: talk(loop, texts))
    until = time.monotonic() + plan.phases[0].duration_s / 2

    def turns() -> None:
        talk(loop, texts)
        while time.monotonic() < until:
            talk(loop, texts[:20])

    stacks = stack_samples(turns)
    print(table(rows))
    stem = f"profile-{time.strftime('%Y%m%d_%H%M%S')}"
    drawn = flame_graph(stacks, f"Where a turn of {target.name} goes")
    graph = write_atomically(plan.output / f"{stem}.svg", drawn.encode())
    folded = write_atomically(plan.output / f"{stem}.folded", stacks.folded().encode())
    print(f"\n{stacks.samples:,} samples: {graph}  {folded}")
    return 0


def _loops(plan: Plan) -> object:
    from perfsuite.targets import scheme_of
    from perfsuite.targets.chatloop import ChatLoopTarget

    scheme, _ = scheme_of(plan.target)
    if scheme != "chatloop":
        raise UsageError(f"--target {plan.target}: only a chat loop is profiled: --target chatloop:module:Class")
    return ChatLoopTarget(plan.target.partition(":")[2])
