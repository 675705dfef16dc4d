"""Keys from a .env file: read where the environment has none, and shown nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfsuite.errors import UsageError
from perfsuite.targets.http.dotenv import value_of
from perfsuite.targets.http.secret import secret_of

TEXT = """
# a project's keys
OPENAI_API_KEY=sk-plain-1234
export ANTHROPIC_API_KEY = "sk-ant # not a comment"   # a comment
WITH_COMMENT=value # and why
HASH=a#b
EMPTY=
SINGLE='it is $HOME'
TWICE=first
TWICE=second
not a line at all
"""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPENAI_API_KEY", "sk-plain-1234"),
        ("ANTHROPIC_API_KEY", "sk-ant # not a comment"),
        ("WITH_COMMENT", "value"),
        ("HASH", "a#b"),
        ("EMPTY", ""),
        ("SINGLE", "it is $HOME"),
        ("TWICE", "second"),
        ("NOWHERE", ""),
    ],
)
def test_lines_are_read_as_shells_and_frameworks_do(tmp_path: Path, name: str, value: str) -> None:
    file = tmp_path / ".env"
    file.write_text(TEXT)
    assert value_of(name, file) == value


def test_a_key_is_the_environments_and_else_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert secret_of("OPENAI_API_KEY") is None
    Path(".env").write_text(TEXT)
    found = secret_of("OPENAI_API_KEY")
    assert found is not None
    assert found.reveal() == "sk-plain-1234"
    assert "sk-plain" not in f"{found} {found!r}"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-exported")
    exported = secret_of("OPENAI_API_KEY")
    assert exported is not None
    assert exported.reveal() == "sk-exported"


def test_a_file_that_is_no_text_is_named_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"KEY=\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"\.env: cannot be read: it is not UTF-8 text; export KEY instead"):
        value_of("KEY", file)
    assert value_of("KEY", tmp_path) == ""
