"""``perfsuite run``: measure, write the files, print the verdict."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from perfsuite.errors import PerfsuiteError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from perfsuite.plan import Plan
    from perfsuite.reports import Paths
    from perfsuite.reports.beside import Beside
    from perfsuite.result import Result
    from perfsuite.suites.first_answer import First


def configure(parser: ArgumentParser) -> None:
    """A flag for each setting."""
    from perfsuite.cli.options import add_settings

    add_settings(parser)


def execute(arguments: Namespace) -> int:
    """Measures what the plan says; returns the verdict's exit code."""
    from perfsuite.heap import uncollected

    with uncollected():
        return _measured(arguments)


def _measured(arguments: Namespace) -> int:
    from perfsuite.cli.options import plan_of
    from perfsuite.exports.places import writable_folder

    if arguments.json not in (None, "-"):
        raise UsageError(f"--json {arguments.json}: write --json - to print the result; its file is in --output DIR")
    plan = plan_of(arguments)
    if not plan.phases:
        raise UsageError("nothing to run: the plan has no phase")
    known = check_inputs(plan)
    writable_folder(plan.output)

    from perfsuite.cli.announcing import announcement, unknown_until_asked
    from perfsuite.cli.driving import INTERRUPTED, Interrupts, drive
    from perfsuite.cli.meter import Meter
    from perfsuite.cli.saving import Saver
    from perfsuite.live.showing import showing

    asking = unknown_until_asked(plan)
    if not asking and (sending := announcement(plan)) is not None:
        print(f"perfsuite: {sending}", file=sys.stderr, flush=True)
    saver = Saver(plan.output)
    with Meter(sys.stderr) as meter, showing(plan, meter.say) as page, Interrupts(meter.say) as interrupts:

        def announce(first: First) -> None:
            meter.say(str(announcement(plan, first)))

        result = drive(plan, saver.save, meter, interrupts, known, announce if asking else None, page)
        meter.clear()
        paths, trouble = saver.finish(result, past(plan, result))
        if page is not None:
            page.end(result, None if paths is None else str(paths.metrics))
        show(result, paths, as_json=arguments.json is not None, verbose=plan.verbose)
        trouble = write_junit(plan, result) or trouble
        forgotten = recorded(plan, result, arguments, paths)
    for text in [result.run.error, trouble, forgotten, *result.run.notes]:
        if text and text not in known:
            print(f"perfsuite: {text}", file=sys.stderr)
    code = INTERRUPTED if interrupts.count else result.run.exit_code
    return code if trouble is None or code in (INTERRUPTED, 2) else 1


def check_inputs(plan: Plan) -> list[str]:
    """Before an hour is spent: the files are there and the process runs.  Raises UsageError with all that is wrong.

    What it says on stderr of files that can be used in part comes back as notes for the result.
    """
    from perfsuite.errors import Mistakes
    from perfsuite.exports.places import check_file

    notes: list[str] = []
    mistakes = Mistakes()
    if plan.workload.conversations is not None:
        from perfsuite.cli.unusable import say_unusable
        from perfsuite.workloads.files import ConversationFile

        with mistakes.noted():
            file = ConversationFile(plan.workload.conversations)
            try:
                for _ in file:  # all of it, now: what is left out is known before an hour is spent on the rest
                    pass
            finally:
                say_unusable(file, everything=plan.verbose)
            left_out = file.left_out()
            if left_out is not None:
                notes.append(left_out)
    if plan.database.queries is not None:
        from perfsuite.database.queries import read_queries

        with mistakes.noted():
            read_queries(plan.database.queries)
    files = (
        (plan.raw, "--raw", "rows.csv"),
        (plan.junitxml, "--junitxml", "perfsuite.xml"),
        (plan.prometheus_file, "--prometheus-file", "perfsuite.prom"),
    )
    for path, flag, example in files:
        with mistakes.noted():
            check_file(path, flag, example)
    if plan.pid is not None:
        import psutil

        if not psutil.pid_exists(plan.pid):
            mistakes.add(f"--pid {plan.pid}: no such process; give the id of the running system under test")
    mistakes.check()
    return notes


def past(plan: Plan, result: Result) -> Beside | None:
    """How the run's figures went over the history, for its page.  A history that cannot be read takes nothing along:
    why is said where the run is to be put into it."""
    from perfsuite.history.past import past_of
    from perfsuite.history.store import history_at
    from perfsuite.reports.beside import Beside

    try:
        found = history_at(plan.history) if result.phases else None
        if found is None:
            return None
        with found as history:
            return Beside(trends=past_of(history, result))
    except PerfsuiteError:
        return None


def recorded(plan: Plan, result: Result, arguments: Namespace, paths: Paths | None) -> str | None:
    """Puts the run into the history; why that failed and how to do it later, or None."""
    from perfsuite.cli.options import command_of
    from perfsuite.history.store import remember

    forgotten = remember(result, plan.history, command_of(arguments))
    if forgotten is None or paths is None:
        return forgotten
    return f"{forgotten}; once that is mended: perfsuite history add {paths.results}"


def write_junit(plan: Plan, result: Result) -> str | None:
    """The criteria as JUnit XML, where the plan names a file for it; what was wrong with that, or None."""
    if plan.junitxml is None:
        return None
    from perfsuite.exports.files import write_atomically
    from perfsuite.reports.junit import of_result

    try:
        write_atomically(plan.junitxml, of_result(result, strict=plan.strict), replace=True)
    except PerfsuiteError as error:
        return str(error)
    return None


def show(result: Result, paths: Paths | None, *, as_json: bool, verbose: bool) -> None:
    """The result on stdout: one screen, or with ``--json -`` the object, and then the screen for a terminal's eyes."""
    from perfsuite.cli.saving import reader_left
    from perfsuite.reports import terminal
    from perfsuite.result import dump

    with reader_left():
        if as_json and sys.stdout is not None:
            sys.stdout.flush()
            out = getattr(sys.stdout, "buffer", None)
            if out is not None:
                out.write(dump(result))
            else:
                sys.stdout.write(dump(result).decode("utf-8"))
            sys.stdout.flush()
            if sys.stderr is None or not sys.stderr.isatty():
                return
        stream = sys.stderr if as_json else sys.stdout
        if stream is None:  # closed before Python began: the files have it all
            return
        terminal.write(result, paths, stream, verbose=verbose)
        stream.flush()
