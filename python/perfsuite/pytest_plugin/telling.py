"""What is collected of a run where it was started, and told of at its end: notes, the result's file, a comparison."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from perfsuite.errors import PerfsuiteError
from perfsuite.pytest_plugin import recording, results
from perfsuite.pytest_plugin.distribution import plain, wrapped
from perfsuite.reports.changes import lines

if TYPE_CHECKING:
    from perfsuite.pytest_plugin import Telling
    from perfsuite.result import PhaseResult, Result

QUIET = ("ok", "inconclusive")
"""Verdicts that are only counted."""


def keep(telling: Telling, report: pytest.TestReport) -> None:
    """What a test measured; of a test that was run again, the last time."""
    found = recording.recorded(report)
    if found is None:
        return
    telling.told[report.nodeid] = (found.phase, found.notes)
    if report.failed:
        recording.show(report, found, *_terminal(telling.config))


def finish(telling: Telling, session: pytest.Session, started: float) -> None:
    """Writes the file and makes the comparison; a regression fails the run where that was asked for."""
    phases: list[PhaseResult] = [phase for phase, _ in telling.told.values()]
    code = int(session.exitstatus)
    when = datetime.fromtimestamp(started).astimezone()
    interrupted = code in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)
    result = results.result_of(phases, when, interrupted=interrupted, exit_code=code)
    if telling.json is not None:
        try:
            results.write(result, telling.json)
        except PerfsuiteError as error:
            telling.said.append(str(error))
            _fail(session)
        else:
            telling.said.append(f"written: {telling.json}")
    if telling.baseline is not None:
        _compare(telling, session, result, telling.baseline)


def summary(telling: Telling, reporter: pytest.TerminalReporter) -> None:
    """The lines at the end, none wider than the terminal."""
    texts = [f"{name}: {note}" for name, (_, notes) in telling.told.items() for note in notes] + telling.said
    if not texts:
        return
    width, encoding = _terminal(telling.config)
    reporter.section("perfsuite")
    for text in texts:
        for line in wrapped(plain(text, encoding), width):
            reporter.write_line(line)


def _compare(telling: Telling, session: pytest.Session, result: Result, path: Path) -> None:
    allowed = bool(telling.config.getoption("perfsuite_allow_different_host"))
    try:
        compared = results.compare(results.read(path), result, str(path), different_host=allowed)
    except PerfsuiteError as error:
        telling.said.append(str(error))
        _fail(session)
        return
    shown = [one for one in compared.judgements if one.verdict not in QUIET]
    telling.said += lines(shown)
    counts = [(verdict, sum(one.verdict == verdict for one in compared.judgements)) for verdict in QUIET]
    counted = ", ".join(f"{count} {verdict}" for verdict, count in counts if count)
    if counted:
        telling.said.append(f"against {path}: {counted}")
    telling.said += compared.notes
    if any(one.verdict == "regressed" for one in shown) and telling.config.getoption("perfsuite_fail_on_regression"):
        _fail(session)


def _fail(session: pytest.Session) -> None:
    if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _terminal(config: pytest.Config) -> tuple[int, str]:
    """Its width and its encoding; there may be none."""
    if not config.pluginmanager.has_plugin("terminalreporter"):
        return 80, "utf-8"
    writer = config.get_terminal_writer()
    return writer.fullwidth, getattr(getattr(writer, "_file", None), "encoding", None) or "utf-8"
