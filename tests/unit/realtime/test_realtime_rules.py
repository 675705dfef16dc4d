"""What the monitor in the page and the analysis in Python both go by holds together."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

import jsonschema

ROOM = files("perfsuite.realtime")
RULES: dict[str, Any] = json.loads((ROOM / "rules.json").read_text(encoding="utf-8"))
SCHEMA: dict[str, Any] = json.loads((ROOM / "logs.schema.json").read_text(encoding="utf-8"))
FORMS = {"ms", "s", "count", "bytes", "mb", "percent", "trend"}


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_limits_and_forms_are_there() -> None:
    thresholds = RULES["thresholds"]
    for issue in RULES["issues"]:
        named = set(re.findall(r"\{(\w+)\}", issue["text"])) - {"value", "limit"}
        assert named <= thresholds.keys(), issue["id"]
        assert issue["over"] in thresholds or ("{limit}" not in issue["text"] and issue["over"] == 0), issue["id"]
    forms = {row["form"] for row in [*RULES["issues"], *RULES["metrics"], *thresholds.values()]}
    assert forms <= FORMS
    assert len({issue["id"] for issue in RULES["issues"]}) == len(RULES["issues"])


def test_every_figure_is_defined() -> None:
    text = (ROOM / "README.md").read_text(encoding="utf-8").partition("## Forms")[0]
    figures = {row["figure"] for row in [*RULES["issues"], *RULES["metrics"]]} | RULES["growth"]["figures"].keys()
    assert {name for name in figures if f"`{name}`" not in text} == set()
    fields = {rule["field"] for rule in RULES["growth"]["figures"].values()}
    assert fields <= SCHEMA["properties"]["samples"]["items"]["properties"].keys()


def test_the_document_s_thresholds() -> None:
    values = {name: row["value"] for name, row in RULES["thresholds"].items()}
    assert values["audioChunks"] == 100
    assert values["responseMs"] == 10_000
    assert values["eventProcessingMs"] == 5_000
    assert values["heapBytes"] == 500 * 1024 * 1024
