"""JUnit XML: a test case for each criterion of a run, or for each figure that was compared.

The form is what CI servers agree on: ``testsuites``, ``testsuite``, ``testcase`` with ``failure``, ``error`` or
``skipped``.  Undecided criteria are cases that passed and say so, but under ``strict``; what was not measured is
skipped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from perfsuite.analysis.regression import STANDING
from perfsuite.reports.changes import said
from perfsuite.reports.figures import label, printable, row_of

if TYPE_CHECKING:
    from perfsuite.analysis.judging import Judgement
    from perfsuite.result import MetricResult, PhaseResult, Result

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def of_result(result: Result, *, strict: bool = False) -> bytes:
    """The criteria of a run."""
    root = ElementTree.Element("testsuites", name="perfsuite")
    for phase in result.phases:
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=_text(phase.name),
            time=f"{phase.duration_s:.3f}",
            timestamp=_text(result.run.started),
            hostname=_text(result.environment.host),
        )
        for metric in phase.metrics:
            if metric.target is not None or metric.verdict == "not measured":
                _criterion(suite, phase, metric, strict)
        _troubles(suite, phase)
    if result.run.error is not None:
        _error(root, "run", result.run.error)
    return _bytes(root)


def of_judgements(judgements: Sequence[Judgement], *, strict: bool = False, error: str | None = None) -> bytes:
    """The figures that were compared: a regression is a failure, and under ``strict`` so is what stays open.

    ``error``: why there are no others, a case of its own.
    """
    root = ElementTree.Element("testsuites", name="perfsuite")
    for judged in judgements:
        suite = ElementTree.SubElement(root, "testsuite", name=_text(judged.benchmark))
        for change in judged.gating:
            name = f"{change.figure.metric} {change.figure.stat}"
            case = ElementTree.SubElement(
                suite, "testcase", classname=_text(f"perfsuite.{judged.benchmark}"), name=_text(name)
            )
            failed = change.verdict == "regressed" or (strict and STANDING[change.verdict].open)
            _outcome(case, "failure" if failed else None, said(change))
        if not judged.gating:
            case = ElementTree.SubElement(
                suite, "testcase", classname=_text(f"perfsuite.{judged.benchmark}"), name="comparison"
            )
            text = "; ".join(judged.notes) or judged.verdict
            _outcome(case, "failure" if strict else "skipped", text)
    if error is not None:
        _error(root, "comparison", error)
    return _bytes(root)


def _error(root: ElementTree.Element, name: str, text: str) -> None:
    """A suite of one case: that there is nothing else."""
    suite = ElementTree.SubElement(root, "testsuite", name=name)
    case = ElementTree.SubElement(suite, "testcase", classname=f"perfsuite.{name}", name=name)
    ElementTree.SubElement(case, "error", message=_text(text))


def _criterion(suite: ElementTree.Element, phase: PhaseResult, metric: MetricResult, strict: bool) -> None:
    case = ElementTree.SubElement(suite, "testcase", classname=_text(f"perfsuite.{phase.name}"), name=label(metric))
    row = row_of(metric)
    text = f"{row.name}: {row.value or '–'} {row.interval} wanted {row.target}; {row.verdict}".replace("  ", " ")
    insisted = strict or metric.required
    if metric.verdict == "failed" or (insisted and metric.critical and metric.verdict in ("undecided", "not measured")):
        _outcome(case, "failure", text)
    else:
        _outcome(case, "skipped" if metric.verdict == "not measured" else None, text)


def _troubles(suite: ElementTree.Element, phase: PhaseResult) -> None:
    """What failed the phase besides its criteria."""
    troubles = [*(f"unhandled error: {text}" for text in phase.unhandled)]
    troubles += [f"load not delivered: {text}" for text in phase.undelivered]
    if phase.verdict == "interrupted":
        troubles.append(phase.reason or "interrupted")
    for number, text in enumerate(troubles, 1):  # CI servers take cases of one name for one case
        name = "phase" if number == 1 else f"phase {number}"
        case = ElementTree.SubElement(suite, "testcase", classname=_text(f"perfsuite.{phase.name}"), name=name)
        ElementTree.SubElement(case, "error", message=_text(printable(text)))


def _outcome(case: ElementTree.Element, kind: str | None, text: str) -> None:
    if kind is None:
        ElementTree.SubElement(case, "system-out").text = _text(text)
    else:
        ElementTree.SubElement(case, kind, message=_text(text)).text = _text(text)


def _bytes(root: ElementTree.Element) -> bytes:
    for suite in root:
        cases = list(suite)
        suite.set("tests", str(len(cases)))
        for kind, name in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            suite.set(name, str(sum(case.find(kind) is not None for case in cases)))
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    root.set("time", f"{sum(float(suite.get('time', '0')) for suite in root):.3f}")
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _text(text: str) -> str:
    """Text that XML can hold; what it cannot is a question mark."""
    return _NOT_XML.sub("?", text)
