"""The tutorials in docs/, done as their readers would do them; and what is wrong in one is seen."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from compilers import ROOT
from documented import Differs, blocks, compare, reading

DOCS = ROOT / "docs"
TUTORIALS = {
    "service-team": [],
    "memory-author": [],
    "benchmark-author": [],
    "notebook-analyst": ["numpy", "pandas", "polars", "pyarrow"],
    "realtime": ["websockets"],
}
"""Each with the packages of the extra that it tells its reader to install."""


def test_the_readme_leads_to_all() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in TUTORIALS:
        assert f"(docs/{name}.md)" in readme, name


@pytest.mark.parametrize("name", TUTORIALS)
def test_a_tutorial_is_true(name: str, tmp_path: Path) -> None:
    missing = [package for package in TUTORIALS[name] if importlib.util.find_spec(package) is None]
    if missing:
        pytest.skip(f'needs {", ".join(missing)}: pip install "perfsuite[test]"')
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    with reading(tmp_path) as reader:
        assert reader.read(text) == text.count("\n```") // 2 >= 4


@pytest.mark.parametrize("name", TUTORIALS)
def test_its_links_lead_somewhere_and_it_is_short(name: str) -> None:
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not (DOCS / link).exists()] == []
    assert len(text.splitlines()) <= 140


def console(*lines: str) -> str:
    return "\n".join(["```console", *lines, "```", ""])


def test_what_is_right_is_done(tmp_path: Path) -> None:
    text = (
        console("$ echo 12 ms", "9.5 s", "$ cat a.py", "# a.py", "…", "$ false", "$ echo $?", "1")
        + "```python\nnumber = 6\nasync def f():\n    return number\n```\n"
        + "```python\nprint(await f())\n```\n```text\n7\n```\n"
        + console("$ { echo up; sleep 300; } &", "up", "$ echo \\", "> on", "on")
    )
    with reading(tmp_path) as reader:
        assert reader.read("```python\n# a.py\nnothing = 0\n```\n" + text) == 6


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (console("$ echo good", "bad"), "it shows\n  bad"),
        (console("$ echo one; echo two", "one"), "it does not show"),
        (console("$ echo one", "one", "two"), "it shows\n  two"),
        (console("$ echo 5 ms", "5 MiB"), "it shows\n  5 MiB"),
        (console("$ exit 3", "$ echo on", "on"), "the command before ended with 3"),
        (console("$ exit 3"), "the last command ended with 3"),
        (console("$ exit 3 &", "up"), "it ended with 3"),
        (console("echo"), "a console begins with"),
        ("```python\nassert 1 == 2\n```\n", "AssertionError"),
        ("```python\nprint('yes')\n```\n```text\nno\n```\n", "it shows\n  no"),
        ("```toml\na = 1\n```\n", "nobody does such a block"),
        ("```toml\n# a.toml\na = \n```\n", "a.toml"),
    ],
)
def test_what_is_wrong_is_seen(text: str, why: str, tmp_path: Path) -> None:
    with reading(tmp_path) as reader, pytest.raises(Differs, match=re.escape(why)):
        reader.read(text)


def test_shapes() -> None:
    compare(["p50  1.5 ms [1–2]", "…", "end"], "p50 220 µs   [0.5–1,300]\nany\nthing\nend\n")
    compare(["[34.1–∞]", "[3–4]"], "[1–2]\n[5–∞]")
    compare(["a …", "≤ 2 ██ 3"], "a b c\n≤ 10 ▊        1")
    with pytest.raises(Differs, match="from line 2 on"):
        compare(["a", "b", "…"], "a\nc\nb\n")
    assert [block.line for block in blocks("text\n```sh\na\n```\n\n```sh\nb\n```\n")] == [3, 7]
