"""What ``perfsuite init`` writes: a commented perfsuite.toml."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

COMMON = (
    "",
    '# profile = "standard"     # quick: 5 s, standard: a minute for each documented hour of a phase',
    "# concurrency = 8          # requests in flight; or rate = 5 for requests due a second",
    "# max_requests = 200       # what a run may send at most, with max_tokens",
    "# output_tokens = 128",
    "# turns = 8                # messages in a conversation: fewer where the model's context is small",
    "",
)
OLLAMA = "# By its OpenAI-compatible API: target = {}"
NOTES = {
    "mode": "        # each event has the whole text so far",
    "done": "        # an answer without it was cut short",
    "error": "        # an error inside a 200",
}


def template_text(
    url: str, target: str, table: Mapping[str, object], guessed: Sequence[str], source: str, model: str | None
) -> str:
    """A perfsuite.toml with a template in it; ``guessed`` are names that nothing told the values of."""
    lines = [
        f"# The service at {url}, found by perfsuite init from {source}.",
        "# Any setting of perfsuite run can stand here.",
        f"target = {toml(target)}",
        *([f"model = [{toml(model)}]"] if model else []),
        *COMMON,
        "",
        "[template]",
        f"base = {toml(table['base'])}",
        "",
        *_setups(table.get("setup")),
        "",
        "[template.request]         # {message} {messages} {model} {user_id} {conversation_id} are filled in",
    ]
    if guessed:
        lines.append(f"# guessed, for nothing says what belongs there: {comment(', '.join(guessed))}")
    request = table["request"]
    assert isinstance(request, dict)
    lines += [f"{key} = {toml(value)}" for key, value in request.items()]
    lines += ["", "[template.stream]          # as the answer to one message read"]
    stream = table["stream"]
    assert isinstance(stream, dict)
    lines += [f"{key} = {toml(value)}{NOTES.get(key, '')}" for key, value in stream.items()]
    headers = table.get("headers")
    if isinstance(headers, dict):
        lines += ["", "[template.headers]         # keys stay in the environment"]
        lines += [f"{toml(key)} = {toml(value)}" for key, value in headers.items()]
    else:
        lines += ["", "# [template.headers]", '# Authorization = "Bearer {env:CHAT_TOKEN}"']
    return "\n".join([*lines, ""])


def _setups(setups: object) -> Iterator[str]:
    """The requests before the first message; commented out, an example of one."""
    if isinstance(setups, list):
        yield "[[template.setup]]          # before the first message of a conversation"
        for setup in setups:
            yield from (f"{key} = {toml(value)}" for key, value in setup.items())
        return
    yield "# [[template.setup]]        # a request before the first message of a conversation, user or run"
    yield '# per = "conversation"'
    yield '# request = { method = "POST", path = "/threads", json = {} }'
    yield '# capture = { thread_id = "$.thread_id" }   # then {thread_id} can be used below'


def comment(text: str) -> str:
    """A service's words as they may stand in a comment."""
    return "".join(c if c.isprintable() else " " for c in text)


def toml(value: object) -> str:
    """A value as TOML writes it on one line; what is null is left out."""
    if isinstance(value, dict):
        pairs = (f"{_key(key)} = {toml(inner)}" for key, inner in value.items() if inner is not None)
        return f"{{ {', '.join(pairs)} }}" if value else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml(inner) for inner in value if inner is not None)}]"
    text = json.dumps(value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if name.isascii() and name.replace("-", "_").isidentifier() else toml(name)
