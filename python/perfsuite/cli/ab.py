"""``perfsuite ab --base REF|DIR|URL --head REF|DIR|URL``: two versions on one machine, in turns."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from perfsuite.plan import Plan
    from perfsuite.suites.ab import Step

NOT_PASSED_ON = ("history", "strict", "verbose")
"""Besides those that say where a run writes."""
DURATION = "2s"
"""Of each benchmark in each run, where nobody says otherwise."""
LONGEST_S = 600.0
"""That a run may take besides what it measures."""
NAMES = ("baseline",)
"""The benchmark, where nobody says otherwise: the shortest that shows response time, memory and what is remembered."""


def configure(parser: ArgumentParser) -> None:
    """The sides, and every flag of ``run``, which goes for both."""
    from perfsuite.cli.options import add_settings

    group = parser.add_argument_group("the comparison")
    group.add_argument("--base", metavar="REF|DIR|URL", help="the version to compare with")
    group.add_argument("--head", metavar="REF|DIR|URL", help="the version in question [the current folder]")
    group.add_argument("--pairs", metavar="N", help="runs of each side, each a fresh process [10]")
    group.add_argument("--no-build", action="store_true", help="run the sources of a revision without building them")
    group.add_argument("--markdown", metavar="FILE", help="write the summary for a pull request there too")
    group.add_argument("--fail-on-inconclusive", action="store_true", help="exit 5 where the verdict is inconclusive")
    add_settings(parser, without=["verbose", "live"])
    parser.add_argument("-v", "--verbose", action="store_true", help="list figures that decide nothing; tracebacks")


def execute(arguments: Namespace) -> int:
    """Compares, writes ``ab-TS.json`` and ``.md``, prints the verdict; 4 when head is worse."""
    from datetime import datetime

    from perfsuite.analysis.regression import FEWEST_RUNS
    from perfsuite.cli.detect import check_verdict_flags, error_in_junit, tell
    from perfsuite.cli.driving import INTERRUPTED, Interrupts
    from perfsuite.cli.meter import Meter
    from perfsuite.errors import Mistakes
    from perfsuite.exports.places import writable_folder
    from perfsuite.reports.ab import introduction, title_of
    from perfsuite.reports.fileset import write_together
    from perfsuite.reports.formats import AB
    from perfsuite.suites import ab
    from perfsuite.units import parse_count

    mistakes = Mistakes()
    if arguments.base is None:
        mistakes.add("--base is missing: name the version to compare with, such as --base main")
    pairs = ab.PAIRS
    with mistakes.noted():
        if arguments.pairs is not None:
            pairs = parse_count(arguments.pairs, "--pairs", least=FEWEST_RUNS, most=1000)
    mistakes.check()
    arguments.fail_on_inconclusive = arguments.fail_on_inconclusive or bool(arguments.strict)
    check_verdict_flags(arguments)
    head = arguments.head or "."
    plan = _plan(arguments)
    writable_folder(plan.output)
    words = _words(arguments, plan)
    with Meter(sys.stderr) as meter, Interrupts(meter.say) as interrupts, error_in_junit(arguments):
        if "://" in arguments.base or "://" in head:
            meter.say(_announcement(plan, pairs))
        report = ab.compare(
            arguments.base,
            head,
            words,
            pairs=pairs,
            build=not arguments.no_build,
            run_s=LONGEST_S + 20.0 * sum(phase.duration_s for phase in plan.phases),
            progress=lambda step: meter.tell(_said(step)),
            stopped=lambda: interrupts.count > 0,
        )
    files = write_together(report, AB, plan.output, datetime.fromisoformat(report.started))
    code = tell(report.judgements, arguments, title=title_of(report), notes=introduction(report))
    out = sys.stderr if arguments.json is not None else sys.stdout
    for text in [*report.notes, *map(str, files)]:
        print(text if arguments.json is None else f"perfsuite: {text}", file=out)
    return INTERRUPTED if report.interrupted else code


def _plan(arguments: Namespace) -> Plan:
    """What the base runs: where it is a folder, by that folder's configuration."""
    from pathlib import Path

    from perfsuite.cli.options import plan_of

    folder = Path(arguments.base)
    return plan_of(arguments, folder if "://" not in arguments.base and folder.is_dir() else None)


def _words(arguments: Namespace, plan: Plan) -> list[str]:
    """What is passed on to every run; what neither flags nor files say is kept short."""
    from perfsuite.cli.options import command_of
    from perfsuite.settings import WRITING

    words = command_of(arguments, without=[*NOT_PASSED_ON, *(option.name for option in WRITING)])
    origins = {setting.name: setting.origin for setting in plan.settings}
    if {origins["phase"], origins["plan"]} == {"built-in"}:
        words = [*NAMES, *words]
    if {origins["duration"], origins["profile"]} == {"built-in"}:
        words.append(f"--duration={DURATION}")
    return words


def _announcement(plan: Plan, pairs: int) -> str:
    from perfsuite.cli.announcing import announcement

    each = announcement(plan)
    return f"{2 * pairs + 2} runs" + (f", each: {each}" if each is not None else "")


def _said(step: Step) -> str:
    return f"{f'pair {step.pair} of {step.pairs}' if step.pair else 'before'}, {step.side}"
