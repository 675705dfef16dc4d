"""The files of a comparison: what they show, and what they must not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from perfsuite.analysis.retrieval import MEASURES
from perfsuite.errors import UsageError
from perfsuite.reports.systems.markdown import markdown
from perfsuite.reports.systems.page import page, points
from perfsuite.reports.systems.rows import COLUMNS, rows, title
from perfsuite.reports.systems.screen import terminal, write
from perfsuite.result import Environment
from perfsuite.suites.memory.comparison_result import (
    PLUMBING,
    Comparison,
    Durability,
    Figure,
    Group,
    ModelUse,
    Paired,
    SystemResult,
    Timing,
    Visibility,
)

SECRET_VOID_MS = 987.0
HOSTILE = "<script>alert(1)</script>| **x** \x1b[31m"


def figure(value: float) -> Figure:
    return Figure(value=value, low=max(0.0, value - 0.1), high=min(1.0, value + 0.1), n=60, clusters=12)


def group(recall: float, *, void: str = "", ms: float = 2.0, name: str = "240 memories") -> Group:
    timing = Timing(samples=240, mean=ms, low=ms * 0.9, high=ms * 1.1, p50=ms, p95=ms * 2, p99=ms * 3, void=void)
    quality = {
        "all": {"recall_500": figure(recall), "recall_k": figure(recall), "mrr": figure(0.5)},
        "paraphrased": {"recall_k": figure(0.25)},
        "unanswerable": {"abstention": figure(0.0)},
    }
    return Group(
        name=name, memories=240, questions=60, cases=1, rounds=3, digest="abc", quality=quality, store=timing,
        recall=timing, disk_bytes=4096,
    )  # fmt: skip


def comparison(heading: str = "", groups: int = 1) -> Comparison:
    weak, strong = group(0.4), group(0.9, ms=20.0)
    strong.store_model = ModelUse(chat_calls=1.0, embedding_calls=2.0, prompt_characters=900.0, wait_ms=15.0)
    void = group(0.05, void="recall is below the floor", ms=SECRET_VOID_MS)
    systems = [
        SystemResult(name="weak", kind="raw", version="1", groups=[weak], baseline=True),
        SystemResult(
            name="strong", kind="raw", version="2", groups=[strong], configuration={"store": "sqlite"},
            disabled=["telemetry"], patches=["a default repaired"], rests_on_stand_in=bool(heading),
            stored=Visibility(at_once=figure(1.0), found=figure(1.0), delay_ms=1.5, longest_ms=3.0, waited_s=3.0),
            durability=Durability(acknowledged=24, visible=figure(1.0), durable=figure(0.5), flushed=figure(1.0)),
        ),
        SystemResult(name="void", kind="extracting", groups=[void]),
        SystemResult(name="gone", status="failed", reason=f"it hung {HOSTILE}"),
        SystemResult(name="absent", status="not installed", reason="absent needs x: pip install x"),
    ]  # fmt: skip
    for one in systems[:2]:
        one.groups += [group(0.5, name=f"{n} memories") for n in range(1, groups)]
    pairs = [
        Paired(group="240 memories", measure="recall_500", a="strong", b="weak", difference=0.5, low=0.4, high=0.6,
               p_value=0.002, verdict="strong finds more")
    ]  # fmt: skip
    return Comparison(
        id="x", started="2026-11-21T10:00:00+00:00", ended="2026-11-21T10:01:00+00:00", heading=heading,
        settings={"k": 7, "dim": 384, "rounds": 3}, data=f"data {HOSTILE}", tokenizer="t", model="none was asked",
        rules=["the same bytes"], damaged=["line 3: not JSON"], systems=systems, pairs=[] if heading else pairs,
        environment=Environment(host="h", os="Linux", cpu="cpu", cores=2, memory_bytes=1, python="3.11", perfsuite="0"),
    )  # fmt: skip


RENDERED = {"markdown": markdown, "page": page, "terminal": terminal}


@pytest.mark.parametrize("kind", RENDERED)
def test_a_void_latency_is_not_shown_but_why(kind: str) -> None:
    text = RENDERED[kind](comparison())
    assert "987" not in text
    assert "below the floor" in text
    assert "void" in text


@pytest.mark.parametrize("kind", RENDERED)
def test_every_system_is_there_with_what_became_of_it(kind: str) -> None:
    text = RENDERED[kind](comparison())
    for name in ("weak", "strong", "void", "gone", "absent", "pip install x", "strong finds more", "not JSON"):
        assert name in text


def test_the_best_comes_first_and_classes_stand_apart() -> None:
    assert [row.system.name for row in rows(comparison())] == ["strong", "weak", "void", "gone", "absent"]


@pytest.mark.parametrize("kind", RENDERED)
def test_plumbing_is_headed_so_and_ranks_nothing(kind: str) -> None:
    text = RENDERED[kind](comparison(PLUMBING))
    assert (
        "plumbing only" in text.lower().split("\n", 10)[8 if kind == "page" else 0].lower() or "PLUMBING ONLY" in text
    )
    assert text.lower().index("plumbing only") < text.index("strong")
    assert "finds more" not in text
    assert [row.system.name for row in rows(comparison(PLUMBING))][:2] == ["weak", "strong"]
    assert "plumbing" not in RENDERED[kind](comparison()).lower()


@pytest.mark.parametrize("kind", RENDERED)
def test_foreign_text_is_no_markup(kind: str) -> None:
    text = RENDERED[kind](comparison())
    assert "\x1b" not in text
    if kind != "terminal":
        assert "<script>" not in text


def test_versions_configuration_patches_and_rules_are_printed() -> None:
    for text in (markdown(comparison()), page(comparison())):
        for said in ("store sqlite", "disabled: telemetry", "patched: a default repaired", "the same bytes"):
            assert said in text
        assert "@7" in text
        assert "1 / 2, 900 characters, 15 ms" in text
        assert "50% / 100%" in text


def measured_in_full() -> Comparison:
    """With every measure, each of another value."""
    whole = comparison()
    values = {name: figure(0.62 + index / 50) for index, name in enumerate(MEASURES)}
    whole.systems[0].groups[0].quality = {"all": values}
    return whole


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("rendered", [markdown, page])
def test_every_measure_is_shown_with_its_title(name: str, rendered: Callable[[Comparison], str]) -> None:
    whole = measured_in_full()
    value = whole.systems[0].groups[0].quality["all"].pop(name).value
    assert f"{value:.2f}" not in (without := _without_chart(rendered(whole)))
    assert MEASURES[name].title.replace("@k", "@7") in without
    assert f"{value:.2f}" in _without_chart(rendered(measured_in_full()))


def _without_chart(text: str) -> str:
    """Nor intervals, whose ends are figures too."""
    return re.sub(r"\[[^\]]*\]", "", re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL))


def test_a_screen_has_the_columns_that_say_so() -> None:
    first = terminal(comparison()).splitlines()[2]
    for column in COLUMNS:
        assert (title(column.title, comparison()) in first) == column.on_screen
    assert any(column.on_screen for column in COLUMNS)


class Checked(HTMLParser):
    """Elements that are open and never closed, and what an address points to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.circles = self.squares = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not {"src", "href", "onclick"} & {name for name, _ in attrs}
        self.circles += tag == "circle"
        self.squares += tag == "rect"
        if tag not in ("meta", "line", "circle", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.circles += tag == "circle"
        self.squares += tag == "rect"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("groups", [1, 3])
def test_the_page_stands_alone_and_draws_what_may_be_drawn(groups: int) -> None:
    whole = comparison(groups=groups)
    text = page(whole)
    checked = Checked()
    checked.feed(text)
    assert checked.open == []
    drawn, left = points(whole)
    assert len(drawn) == 2 + 2 * (groups - 1)
    assert checked.circles == 2 * len(drawn)  # the point, and the one beside its name
    assert checked.squares == 0  # the extracting one is void
    assert left == ["void, 240 memories: recall is below the floor"]
    assert "http" not in re.sub(r"http-equiv", "", text)
    for match in re.finditer(r' (?:x|y|x1|x2|y1|y2|cx|cy)="([^"]+)"', text):
        assert 0 <= float(match[1]) <= 900


def test_a_page_without_a_point_says_so() -> None:
    whole = comparison()
    whole.systems = whole.systems[2:]
    assert "No system has both" in page(whole)


def test_the_files_are_written_beside_one_another_and_never_over_others(tmp_path: Path) -> None:
    first, second = write(comparison(), tmp_path), write(comparison(), tmp_path)
    assert first.data.name.startswith("comparison_2026")
    assert second.data.stem == f"{first.data.stem}-2"
    assert {path.suffix for path in first} == {".json", ".md", ".html"}
    assert {path.stem for path in second} == {second.data.stem}
    decoded = msgspec.json.decode(first.data.read_bytes(), type=Comparison)
    assert decoded == comparison()
    assert json.loads(first.data.read_bytes())["kind"] == "comparison"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        write(comparison(), tmp_path / "f")
