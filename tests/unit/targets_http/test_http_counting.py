"""Tokens counted here: by which tokenizer, with which template, and never by a download."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from perfsuite.errors import UsageError
from perfsuite.targets.http import counting
from perfsuite.targets.http.counting import ESTIMATE, Counter, counter_for
from perfsuite.targets.http.dialect import Usage

LETTERS = {chr(byte) if 33 <= byte < 127 else f"<{byte}>": byte for byte in range(256)}
TEMPLATE = (
    "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}>{% endif %}"
)
MESSAGES = [{"role": "user", "content": "abc"}, {"role": "assistant", "content": "de"}]
RENDERED = "[user]abc[assistant]de>"


def a_tokenizer(folder: Path, *, template: str | None = TEMPLATE) -> Path:
    """Every character that is printable ASCII is a token."""
    model = {"type": "BPE", "vocab": LETTERS, "merges": []}
    whole = {"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": None, "post_processor": None,
             "decoder": None, "model": model}  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(whole))
    if template is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template, "bos_token": "<s>"}))
    return folder / "tokenizer.json"


@pytest.fixture(autouse=True)
def _no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "tiktoken"))


def test_an_estimate_says_so_and_counts_no_template() -> None:
    counter = counter_for("nobody/knows-it")
    assert counter.name == ESTIMATE
    assert counter.prompt is None
    assert counter.completed(Usage(), MESSAGES, "12345", 3) == Usage(1 + 1, 2 + 1)
    assert counter.completed(Usage(9, None, 4), MESSAGES, "12345", 0) == Usage(9, 2, 4)


@pytest.mark.parametrize("named", ["file", "folder"])
def test_a_tokenizer_that_is_named_counts_as_the_model_reads(tmp_path: Path, named: str) -> None:
    file = a_tokenizer(tmp_path / "m")
    counter = counter_for("any", file if named == "file" else file.parent)
    assert str(file) in counter.name
    assert counter.count("hello") == 5
    assert counter.of(MESSAGES) == len(RENDERED)


def test_without_a_template_the_texts_are_counted_and_it_says_so(tmp_path: Path) -> None:
    counter = counter_for("any", a_tokenizer(tmp_path, template=None))
    assert "no chat template" in counter.name
    assert counter.prompt is None
    assert counter.of(MESSAGES) == 5


def test_templates_by_name_beside_and_special_tokens(tmp_path: Path) -> None:
    file = a_tokenizer(tmp_path)
    config = {
        "chat_template": [{"name": "tool", "template": "x"}, {"name": "default", "template": "{{ bos_token }}!"}],
        "bos_token": {"content": "BOS"},
    }
    file.with_name("tokenizer_config.json").write_text(json.dumps(config))
    assert counter_for(None, file).of(MESSAGES) == len("BOS!")
    file.with_name("chat_template.jinja").write_text("{{ messages|length }}{{ messages[0]|tojson }}")
    assert counter_for(None, file).of(MESSAGES) == len('2{"role":"user","content":"abc"}')


def test_the_models_own_folder_and_the_hugging_face_cache(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "mine"
    a_tokenizer(folder)
    assert counter_for(str(folder)).of(MESSAGES) == len(RENDERED)
    a_tokenizer(tmp_path / "hf" / "hub" / "models--org--m" / "snapshots" / "abc")
    assert counter_for("org/m").of(MESSAGES) == len(RENDERED)
    assert counter_for("org/other").name == ESTIMATE
    assert counter_for("../org/m").name == ESTIMATE


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file"), ("{}", "is no tokenizer.json"), ("not json", "is no tokenizer.json")],
)
def test_a_named_tokenizer_that_cannot_be_used_is_an_error(tmp_path: Path, content: str | None, words: str) -> None:
    file = tmp_path / "tokenizer.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UsageError, match=words):
        counter_for("any", file)


def test_a_template_is_sandboxed_and_a_broken_one_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="chat template cannot be read"):
        counter_for("any", a_tokenizer(tmp_path / "a", template="{% for %}"))
    escaping = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    counter = counter_for("any", a_tokenizer(tmp_path / "b", template=escaping))
    with pytest.raises(Exception, match="unsafe"):
        counter.of(MESSAGES)


def test_without_the_package_a_named_tokenizer_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = a_tokenizer(tmp_path)

    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(counting, "import_module", missing)
    with pytest.raises(UsageError, match="pip install tokenizers"):
        counter_for("any", file)
    assert counter_for("gpt-4o").name == ESTIMATE


def put(folder: Path, encoding: str, content: bytes) -> None:
    url = f"https://openaipublic.blob.core.windows.net/encodings/{encoding}.tiktoken"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha1(url.encode()).hexdigest()).write_bytes(content)


def test_a_wrong_file_in_tiktokens_cache_is_not_replaced_by_a_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tiktoken.load

    asked: list[str] = []
    monkeypatch.setattr(tiktoken.load, "read_file", asked.append)
    assert counter_for("gpt-4o").name == ESTIMATE  # nothing there
    put(tmp_path / "tiktoken", "o200k_base", b"not it")
    assert counter_for("gpt-4o").name == ESTIMATE
    assert asked == []
    assert tiktoken.load.read_file == asked.append  # as it was


def test_tiktoken_counts_openais_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tiktoken
    import tiktoken.registry

    ranks = {bytes([byte]): byte for byte in range(256)}
    encoding = tiktoken.Encoding("o200k_base", pat_str=r"[\s\S]", mergeable_ranks=ranks, special_tokens={})
    monkeypatch.setitem(tiktoken.registry.ENCODINGS, "o200k_base", encoding)
    put(tmp_path / "tiktoken", "o200k_base", b"")
    counter = counter_for("gpt-4o")
    assert counter.name == "tiktoken o200k_base"
    assert counter.count("é") == 2
    assert counter.of([*MESSAGES, {"role": "user", "content": "f", "name": "bo"}]) == (
        3 + (3 + 4 + 3) + (3 + 9 + 2) + (3 + 4 + 1 + 1 + 2)
    )


def test_a_counter_without_a_template_gives_no_prompt_to_compare() -> None:
    assert Counter("x", len).of(MESSAGES) == 5
