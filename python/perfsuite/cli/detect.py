"""``perfsuite detect [FILE…]``: are these results worse than their baselines?"""

from __future__ import annotations

import contextlib
import sys
from argparse import ArgumentParser, Namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from perfsuite.analysis.judging import Judgement
    from perfsuite.history.baselines import Taken

REGRESSED = 4
INCONCLUSIVE = 5


def configure(parser: ArgumentParser) -> None:
    """Which results, against what, and what is told to whom."""
    from perfsuite.cli.choosing import add_results

    add_results(parser)
    parser.add_argument("--baselines", metavar="DIR", help="folder of the baselines [baselines beside each result]")
    parser.add_argument(
        "--allow-different-host", action="store_true", help="compare with a baseline of another host, and say so"
    )
    parser.add_argument(
        "--against-history", action="store_true", help="hold each run against what the runs before it predict instead"
    )
    parser.add_argument("--history", metavar="URL|FILE", help="the history [~/.local/share/perfsuite/history.db]")
    parser.add_argument(
        "--rerun", metavar="N", help="make up to so many fresh runs where one is suspicious, to decide it [0]"
    )
    parser.add_argument(
        "--base", metavar="REF|DIR|URL", help="let the version before run in turns with the fresh runs, to decide by it"
    )
    add_verdict_flags(parser)
    parser.add_argument("-v", "--verbose", action="store_true", help="list figures that decide nothing; tracebacks")


def add_verdict_flags(parser: ArgumentParser) -> None:
    """What every command takes that gives verdicts on changes."""
    parser.add_argument(
        "--fail-on-inconclusive", "--strict", action="store_true", help="exit 5 where a verdict is inconclusive"
    )
    parser.add_argument("--json", metavar="-", help="-: print the verdicts as JSON")
    parser.add_argument("--markdown", metavar="FILE", help="write the summary for a pull request")
    parser.add_argument("--junitxml", metavar="FILE", help="write the verdicts as JUnit XML")


def execute(arguments: Namespace) -> int:
    """Judges every benchmark that has a baseline; 4 when one regressed, 2 when a baseline cannot be used."""
    from perfsuite.cli.choosing import chosen
    from perfsuite.cli.driving import INTERRUPTED
    from perfsuite.errors import Mistakes
    from perfsuite.history.baselines import take

    check_verdict_flags(arguments)
    _check_history_flags(arguments)
    mistakes = Mistakes()
    judgements: list[Judgement] = []
    with error_in_junit(arguments, judgements):
        taken = take(chosen(arguments.files, arguments.output or ()))
        with _judging(arguments) as (judge, interrupted):
            for benchmark, runs in taken.items():
                with mistakes.noted():
                    judgements.append(judge(benchmark, runs))
        code = tell(judgements, arguments, title="perfsuite detect")
        if interrupted():
            return INTERRUPTED
        mistakes.check()
    return code


@contextlib.contextmanager
def error_in_junit(arguments: Namespace, judgements: Sequence[Judgement] = ()) -> Iterator[None]:
    """An error that ends the block is a test case of the file that CI reads, behind the verdicts that there are: a file
    without a case would count as nothing wrong."""
    from pathlib import Path

    from perfsuite.errors import PerfsuiteError
    from perfsuite.exports.files import write_atomically
    from perfsuite.reports import junit

    try:
        yield
    except PerfsuiteError as error:
        if arguments.junitxml is not None:
            data = junit.of_judgements(judgements, strict=arguments.fail_on_inconclusive, error=str(error))
            try:
                write_atomically(Path(arguments.junitxml), data, replace=True)
            except PerfsuiteError as unwritten:
                print(f"perfsuite: {unwritten}", file=sys.stderr)
        raise


@contextlib.contextmanager
def _judging(arguments: Namespace) -> Iterator[tuple[Callable[[str, list[Taken]], Judgement], Callable[[], bool]]]:
    """What judges a benchmark's runs, and whether somebody asked to stop."""
    if not arguments.against_history:
        yield (lambda benchmark, runs: _against_baseline(benchmark, runs, arguments)), lambda: False
        return
    from perfsuite.cli.confirming import against_history
    from perfsuite.cli.driving import Interrupts
    from perfsuite.cli.history import place_of
    from perfsuite.history.store import History

    def say(text: str) -> None:
        print(f"perfsuite: {text}", file=sys.stderr)

    with History(place_of(arguments.history)) as history, Interrupts(say) as interrupts:
        stopped = lambda: interrupts.count > 0  # noqa: E731
        yield (lambda benchmark, runs: against_history(benchmark, runs, history, arguments, stopped)), stopped


def _check_history_flags(arguments: Namespace) -> None:
    """``--rerun`` as a number, and flags that do not go together.  Raises UsageError."""
    from perfsuite.errors import UsageError
    from perfsuite.units import parse_count

    only = [name for name in ("history", "rerun", "base") if getattr(arguments, name) is not None]
    if only and not arguments.against_history:
        flags = " and ".join(f"--{name}" for name in only)
        raise UsageError(f"{flags}: for --against-history, which is not there: add it, or leave that out")
    if arguments.base is not None and arguments.rerun is None:
        from perfsuite.analysis.beside import MOST_PAIRS

        arguments.rerun = str(MOST_PAIRS)
    if arguments.against_history and (arguments.baselines is not None or arguments.allow_different_host):
        raise UsageError(
            "--against-history compares with runs of the same host in the history: leave --baselines and "
            "--allow-different-host out"
        )
    arguments.rerun = 0 if arguments.rerun is None else parse_count(arguments.rerun, "--rerun", least=0, most=1000)


def check_verdict_flags(arguments: Namespace) -> None:
    """Before anything takes its time.  Raises UsageError."""
    from pathlib import Path

    from perfsuite.errors import Mistakes
    from perfsuite.exports.places import check_file

    mistakes = Mistakes()
    if arguments.json not in (None, "-"):
        mistakes.add(f"--json {arguments.json}: write --json - to print the verdicts")
    for flag, example in (("markdown", "verdicts.md"), ("junitxml", "verdicts.xml")):
        name = getattr(arguments, flag)
        with mistakes.noted():
            check_file(None if name is None else Path(name), f"--{flag}", example)
    mistakes.check()


def tell(judgements: Sequence[Judgement], arguments: Namespace, *, title: str, notes: Sequence[str] = ()) -> int:
    """Prints and writes the verdicts; returns the exit code that they stand for."""
    from pathlib import Path

    import msgspec

    from perfsuite.cli.screen import coloured, put
    from perfsuite.exports.files import write_atomically
    from perfsuite.reports import changes, junit

    if arguments.json is not None:
        print(msgspec.json.format(msgspec.json.encode(list(judgements)), indent=1).decode())
    else:
        for line in changes.lines(judgements, colour=coloured(sys.stdout), verbose=arguments.verbose):
            put(line)
    summary = changes.markdown(title, judgements, notes) if judgements else ""
    if arguments.markdown is not None:
        write_atomically(Path(arguments.markdown), summary.encode("utf-8", "replace"), replace=True)
    if arguments.junitxml is not None:
        data = junit.of_judgements(judgements, strict=arguments.fail_on_inconclusive)
        write_atomically(Path(arguments.junitxml), data, replace=True)
    try:
        if summary:
            changes.append_step_summary(summary)
    except OSError as error:
        # The verdict is what counts; the page of the job is a courtesy.
        print(f"perfsuite: cannot add to ${changes.STEP_SUMMARY}: {error.strerror or error}", file=sys.stderr)
    return code_of(judgements, strict=arguments.fail_on_inconclusive)


def code_of(judgements: Sequence[Judgement], *, strict: bool) -> int:
    """4 when one regressed, 5 when one is open and that counts, else 0."""
    from perfsuite.analysis.regression import STANDING

    verdicts = {one.verdict for one in judgements}
    if "regressed" in verdicts:
        return REGRESSED
    return INCONCLUSIVE if strict and any(STANDING[verdict].open for verdict in verdicts) else 0


def _against_baseline(benchmark: str, runs: list[Taken], arguments: Namespace) -> Judgement:
    from pathlib import Path

    from perfsuite.cli.init_baselines import folder_of
    from perfsuite.history import baselines

    if arguments.baselines is not None:
        path = Path(arguments.baselines) / baselines.place(Path(), benchmark).name
    else:
        path = baselines.place(folder_of(runs), benchmark)
    baseline = baselines.read(path)
    return baselines.hold(baseline, runs, str(path), different_host=arguments.allow_different_host)
