"""Placeholders: ``{message}`` in a template, filled in for each request."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import quote

from perfsuite.errors import Mistakes, UsageError, unknown
from perfsuite.targets.http.secret import Secret, secret_of

ALWAYS = ("message", "messages", "model", "user_id", "conversation_id", "max_tokens")
_NAME = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_ENVIRONMENT = re.compile(r"\{env:([A-Za-z_][A-Za-z0-9_]*)\}")

Values = Mapping[str, object]


def filled(form: object, values: Values) -> object:
    """A JSON value with its placeholders filled in.  A text that is a placeholder and nothing else becomes the value
    itself, so that ``"{messages}"`` is a list; within a longer text it is written out."""
    if isinstance(form, str):
        alone = _NAME.fullmatch(form)
        if alone is not None and alone[1] in values:
            return values[alone[1]]
        return filled_text(form, values, lambda text: text)
    if isinstance(form, Mapping):
        return {name: filled(value, values) for name, value in form.items()}
    if isinstance(form, list):
        return [filled(value, values) for value in form]
    return form


def filled_path(form: str, values: Values) -> str:
    """A path, each value percent-encoded as one segment."""
    return filled_text(form, values, lambda text: quote(text, safe=""))


def filled_field(form: object, values: Values) -> str:
    """A form's field: text, and what is none as JSON writes it."""
    return filled_text(form, values, lambda text: text) if isinstance(form, str) else _words(form)


def filled_text(form: str, values: Values, write: Callable[[str], str]) -> str:
    """A text with each placeholder as ``write`` writes its value."""
    return _NAME.sub(lambda found: write(_words(values[found[1]])) if found[1] in values else found[0], form)


def _words(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def check_names(form: object, known: Iterable[str], where: str, mistakes: Mistakes) -> None:
    """Notes each placeholder that nothing fills."""
    if isinstance(form, str):
        for name in _NAME.findall(form):
            if name not in known:
                mistakes.add(str(unknown("placeholder", name, known, where)))
        if _ENVIRONMENT.search(form):
            mistakes.add(f"{where}: {{env:…}} stands in [headers] only: elsewhere a key would get into logs")
    elif isinstance(form, Mapping):
        for name, value in form.items():
            check_names(value, known, f"{where}.{name}", mistakes)
    elif isinstance(form, list):
        for index, value in enumerate(form):
            check_names(value, known, f"{where}[{index}]", mistakes)


def header_secrets(headers: Mapping[str, str], where: str) -> dict[str, Secret]:
    """The values of the variables that headers name.  Raises UsageError for what is not set."""
    found: dict[str, Secret] = {}
    for header, form in headers.items():
        for name in _ENVIRONMENT.findall(form):
            secret = secret_of(name)
            if secret is None:
                raise UsageError(
                    f"{where}: {header} needs the variable {name}, which is not set; export it, or put it in .env"
                )
            found[name] = secret
    return found


def with_secrets(form: str, secrets: Mapping[str, Secret]) -> str:
    """A header's text with the keys in it."""
    return _ENVIRONMENT.sub(lambda found: secrets[found[1]].reveal(), form)
