"""JUnit XML as CI servers take it."""

from __future__ import annotations

from xml.etree import ElementTree

import msgspec

from perfsuite.reports.junit import of_result
from results_made import full


def test_the_counts_are_those_of_the_cases_and_no_two_cases_have_one_name() -> None:
    result = full()
    phase = msgspec.structs.replace(result.phases[0], unhandled=["one", "another"], undelivered=["a third"])
    root = ElementTree.fromstring(of_result(msgspec.structs.replace(result, phases=[phase])))
    cases = list(root.iter("testcase"))
    assert root.get("tests") == str(len(cases))
    for kind, name in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert root.get(name) == str(len(list(root.iter(kind)))), name
    assert (root.get("errors"), root.get("skipped"), root.get("time")) == ("3", "1", "5.000")
    names = [(case.get("classname"), case.get("name")) for case in cases]
    assert len(set(names)) == len(names)
