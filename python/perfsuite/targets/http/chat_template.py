"""The chat template beside a tokenizer: how a model's messages become the text that it reads.

As Hugging Face's ``apply_chat_template`` renders it (Jinja, sandboxed: a template is a file of somebody else's):
https://huggingface.co/docs/transformers/chat_templating
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

Rendered = Callable[[Sequence[Mapping[str, object]]], str]


def template_beside(tokenizer: Path) -> Rendered | None:
    """The template of ``chat_template.jinja`` or ``tokenizer_config.json`` in the tokenizer's folder, if there is one.

    Raises ValueError for one that cannot be read.
    """
    config: dict[str, object] = {}
    file = tokenizer.with_name("tokenizer_config.json")
    if file.is_file():
        read = json.loads(file.read_text(encoding="utf-8"))
        config = read if isinstance(read, dict) else {}
    alone = tokenizer.with_name("chat_template.jinja")
    source = alone.read_text(encoding="utf-8") if alone.is_file() else _chosen(config.get("chat_template"))
    if source is None:
        return None
    specials = {name: _text(value) for name, value in config.items() if name.endswith("_token")}
    return _compiled(source, {name: text for name, text in specials.items() if text is not None})


def _chosen(template: object) -> str | None:
    """A template, or of several by name the one for chats."""
    if isinstance(template, str):
        return template
    if isinstance(template, list):
        by_name = {one.get("name"): one.get("template") for one in template if isinstance(one, dict)}
        return _text(by_name.get("default"))
    return None


def _text(value: object) -> str | None:
    """A token: text, or an object that has it as its content."""
    inner = value.get("content") if isinstance(value, dict) else value
    return inner if isinstance(inner, str) else None


def _compiled(source: str, specials: Mapping[str, str]) -> Rendered:
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _json
    environment.globals["raise_exception"] = _refused
    environment.globals["strftime_now"] = _now
    try:
        template = environment.from_string(source)
    except TemplateError as error:
        raise ValueError(f"the chat template cannot be read: {error}") from error

    def render(messages: Sequence[Mapping[str, object]]) -> str:
        return template.render(messages=list(messages), add_generation_prompt=True, **specials)

    return render


def _json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refused(message: str) -> NoReturn:
    from jinja2 import TemplateError

    raise TemplateError(message)


def _now(form: str) -> str:
    from datetime import datetime

    return datetime.now().strftime(form)
