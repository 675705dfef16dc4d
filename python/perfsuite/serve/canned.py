"""What the stand-in for a model says: an answer in the very form that was asked for, its words taken from the prompt.

A memory system asks its model to extract, by a tool's parameters, by a JSON schema, or by words alone.  The stand-in
keeps everything and invents nothing: the one fact of a text is the text.  Its judgement is that of a plumber: two
things are the same when they are spelled alike, and nothing contradicts anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from perfsuite.serve.dialect import words_of
from perfsuite.serve.http import BadRequest

Object: TypeAlias = Mapping[str, object]

MOST_DEPTH = 32
MOST_VALUES = 10_000
MOST_ENTITIES = 4
FEW_WORDS = 60
SUMMARY_CHARACTERS = 240


class Call(NamedTuple):
    """A tool that the answer calls."""

    name: str
    arguments: Object


class Said(NamedTuple):
    """An answer.  ``known`` is False for a structure that no row below knows: then it is the least that is valid."""

    text: str
    calls: tuple[Call, ...] = ()
    known: bool = True


class Prompt(NamedTuple):
    """``asked`` is the last message of the user, ``all`` the texts of all messages, ``subject`` what is to be
    remembered of them."""

    asked: str
    all: str
    subject: str


# ── reading prompts ──────────────────────────────────────────────────────────────────────────────────────────────────

SUBJECTS = (
    re.compile(r"<session_[\w-]+>\n(?P<text>.*)\n</session_", re.DOTALL),  # LangMem
    re.compile(r"^## New Messages\n(?P<text>.*?)\n\n## Observation Date", re.DOTALL | re.MULTILINE),  # Mem0
    re.compile(r"<CURRENT[ _]MESSAGE>\n(?P<text>.*?)\n\s*</CURRENT[ _]MESSAGE>", re.DOTALL),  # graphiti
    re.compile(r"<(?:TEXT|JSON|EPISODE)>\n(?P<text>.*?)\n\s*</(?:TEXT|JSON|EPISODE)>", re.DOTALL),  # graphiti
)
"""Where the known systems put the text that is to be remembered."""

_SPEAKER = re.compile(
    r"^=+ (?:Human|Ai|System) Message =+\s*|^(?:user|assistant|human|system)(?:\(\w*\))?: ", re.MULTILINE
)


def read(messages: object) -> Prompt:
    """The prompt of a request; BadRequest when it has none."""
    if not isinstance(messages, list) or not messages:
        raise BadRequest(400, "messages must be a list with at least one message")
    texts: list[str] = []
    asked = ""
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise BadRequest(400, f"messages[{index}] must be an object with a role and content")
        text = words_of(message.get("content"))
        texts.append(text)
        if message.get("role", "user") == "user":
            asked = text
    return Prompt(asked, "\n".join(texts), subject_of(asked))


def subject_of(text: str) -> str:
    """What is to be remembered of a prompt: the part that a known system marks, else all of it."""
    for pattern in SUBJECTS:
        found = pattern.search(text)
        if found is not None:
            text = found["text"]
            break
    return _SPEAKER.sub("", _dequoted(text)).strip()


def _dequoted(text: str) -> str:
    """The contents of messages that a prompt gives as JSON or as a Python literal."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    ones = value if isinstance(value, list) else [value]
    contents = [one.get("content") for one in ones if isinstance(one, Mapping)]
    words = [one for one in contents if isinstance(one, str)]
    return "\n".join(words) if words else text


def section(prompt: str, name: str) -> object:
    """The JSON between ``<NAME>`` and ``</NAME>``; None where it is not there or is none."""
    found = re.search(rf"<{name}>\s*(.*?)\s*</{name}>", prompt, re.DOTALL)
    if found is None:
        return None
    import ast

    for reader in (json.loads, ast.literal_eval):
        try:
            return reader(found[1])
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return None


# ── answering ────────────────────────────────────────────────────────────────────────────────────────────────────────


def answer(body: Object) -> Said:
    """The answer to the body of a chat request."""
    prompt = read(body.get("messages"))
    tool = _tool(body)
    if tool is not None:
        name, parameters = tool
        value, known = fill(parameters, prompt)
        return Said("", (Call(name, value),), known)
    wanted = body.get("response_format")
    kind = wanted.get("type") if isinstance(wanted, Mapping) else None
    if kind == "json_schema":
        assert isinstance(wanted, Mapping)
        outer = wanted.get("json_schema")
        schema = outer.get("schema") if isinstance(outer, Mapping) else None
        if not isinstance(schema, Mapping):
            raise BadRequest(400, "response_format.json_schema.schema must be an object")
        value, known = fill(schema, prompt)
        return Said(_json(value), known=known)
    if kind == "json_object":
        return _object(prompt)
    return Said(" ".join(prompt.subject.split()[:FEW_WORDS]))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _object(prompt: Prompt) -> Said:
    """JSON in a form that only the prompt's words tell."""
    for marks, make in FORMS:
        if all(mark in prompt.all for mark in marks):
            return Said(_json(make(prompt)))
    return Said("{}", known=False)


def _tool(body: Object) -> tuple[str, Object] | None:
    """The tool to call, and the schema of its arguments; None where none is to be called."""
    tools, choice = body.get("tools"), body.get("tool_choice")
    if not isinstance(tools, list) or not tools or choice == "none":
        return None
    functions = [one.get("function") for one in tools if isinstance(one, Mapping)]
    offered: dict[str, Object] = {}
    for function in functions:
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise BadRequest(400, "each of tools must be an object with a function and its name")
        parameters = function.get("parameters")
        offered[str(function["name"])] = parameters if isinstance(parameters, Mapping) else {}
    named = choice.get("function") if isinstance(choice, Mapping) else None
    if isinstance(named, Mapping):
        name = str(named.get("name"))
        if name not in offered:
            raise BadRequest(400, f"tool_choice names {name[:80]!r}, which is not among the tools")
        return name, offered[name]
    for name, parameters in offered.items():
        if set(_properties(parameters)) & KEEPING:
            return name, parameters
    if choice in (None, "auto"):
        return None
    return next(iter(offered.items()))


KEEPING = frozenset({"content", "text", "memory", "fact", "facts"})
"""A tool with such a parameter keeps something; one that edits or deletes has none."""


def _properties(schema: Object) -> Object:
    found = schema.get("properties")
    return found if isinstance(found, Mapping) else {}


def fill(schema: Object, prompt: Prompt) -> tuple[Object, bool]:
    """A value of a schema, and whether a row of SHAPES made it, or each of its texts is the subject."""
    properties = _properties(schema)
    for names, make in SHAPES:
        if names <= set(properties):
            return make(prompt), True
    value = Filling(schema, prompt.subject).value(schema)
    made = value if isinstance(value, Mapping) else {}
    return made, bool(set(properties) & KEEPING)


class Filling:
    """Makes the least value of a JSON schema; its strings are ``text``.  A schema that asks for itself without end gets
    null beyond a bound."""

    def __init__(self, root: Object, text: str) -> None:
        self._root = root
        self._text = text
        self._left = MOST_VALUES

    def value(self, schema: object, depth: int = 0) -> object:
        """The least value that a schema allows."""
        self._left -= 1
        if not isinstance(schema, Mapping) or depth > MOST_DEPTH or self._left < 0:
            return None
        if isinstance(reference := schema.get("$ref"), str):
            return self.value(self._resolved(reference), depth + 1)
        for key in ("anyOf", "oneOf", "allOf"):
            if isinstance(ones := schema.get(key), list) and ones:
                nullable = any(isinstance(one, Mapping) and one.get("type") == "null" for one in ones)
                return None if nullable else self.value(ones[0], depth + 1)
        if "const" in schema:
            return schema["const"]
        if isinstance(choices := schema.get("enum"), list) and choices:
            return choices[0]
        if "default" in schema:
            return schema["default"]
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = "null" if "null" in kind else kind[0] if kind else None
        if kind == "object" or (kind is None and "properties" in schema):
            return self._object(schema, depth)
        if kind == "array":
            least = schema.get("minItems", 0)
            count = min(least, MOST_ENTITIES) if isinstance(least, int) else 0
            return [self.value(schema.get("items"), depth + 1) for _ in range(count)]
        if kind == "string":
            most = schema.get("maxLength")
            return self._text[: max(0, most)] if isinstance(most, int) else self._text
        if kind in ("integer", "number"):
            least = schema.get("minimum", 0)
            return least if isinstance(least, int | float) else 0
        return False if kind == "boolean" else None

    def _object(self, schema: Object, depth: int) -> Object:
        required = schema.get("required")
        names = required if isinstance(required, list) else list(_properties(schema))
        return {str(name): self.value(_properties(schema).get(str(name), {}), depth + 1) for name in names}

    def _resolved(self, reference: str) -> object:
        found: object = self._root
        for part in reference.removeprefix("#/").split("/"):
            found = found.get(part) if isinstance(found, Mapping) else None
        return found


# ── what the known systems ask for ───────────────────────────────────────────────────────────────────────────────────

_WORD = re.compile(r"[\w'-]+")
WORDS_OF_NO_THING = """
    a an and are at be by did do does for from had has have he her his how i in is it its me my now of on or our she so
    that the their them they this to was we were what when where which who why with you your
"""
_COMMON = frozenset(WORDS_OF_NO_THING.split())


def entities(text: str) -> list[str]:
    """Names in a text: words with a digit in them or a capital letter inside a sentence, then the longest others."""
    words = [word for word in _WORD.findall(text) if word.lower() not in _COMMON]
    named = [word for index, word in enumerate(words) if any(map(str.isdigit, word)) or (index and word[:1].isupper())]
    longest = sorted(words, key=len, reverse=True)
    return list(dict.fromkeys([*named, *longest]))[:MOST_ENTITIES]


def _memories(prompt: Prompt) -> Object:
    memory = {"id": "0", "text": prompt.subject, "attributed_to": "user", "linked_memory_ids": []}
    return {"memory": [memory] if prompt.subject else []}


def _facts(prompt: Prompt) -> Object:
    return {"facts": [prompt.subject] if prompt.subject else []}


def _added(prompt: Prompt) -> Object:
    """Mem0's older second step: what becomes of the new facts, which come last, between triple backquotes."""
    fenced = re.findall(r"```\s*(\[.*?\])\s*```", prompt.all, re.DOTALL)
    try:
        facts = json.loads(fenced[-1].replace("'", '"')) if fenced else []
    except ValueError:
        facts = [fenced[-1].strip("[]'\" ")]
    return {"memory": [{"id": str(index), "text": text, "event": "ADD"} for index, text in enumerate(facts)]}


Form: TypeAlias = Callable[[Prompt], Object]
FORMS: Sequence[tuple[tuple[str, ...], Form]] = (
    (("## New Messages", '"memory"'), _memories),
    (('"facts"',), _facts),
    (('"event"', '"memory"'), _added),
)
"""What the prompt's words ask for when the request names no schema: what is to be in it, and what makes the answer."""


def _entities(prompt: Prompt) -> Object:
    return {"extracted_entities": [{"name": name, "entity_type_id": 0} for name in entities(prompt.subject)]}


def _listed(prompt: Prompt, name: str) -> list[Object]:
    """The objects of a list that a prompt gives between tags."""
    found = section(prompt.asked, name)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _resolutions(prompt: Prompt) -> Object:
    """graphiti: each entity, and the existing one of the same name."""
    existing = {str(one.get("name")).lower(): one.get("candidate_id") for one in _listed(prompt, "EXISTING ENTITIES")}
    resolutions = [
        {
            "id": one.get("id", index),
            "name": one.get("name"),
            "duplicate_candidate_id": existing.get(str(one.get("name")).lower(), -1),
        }
        for index, one in enumerate(_listed(prompt, "ENTITIES"))
    ]
    return {"entity_resolutions": resolutions}


def _edges(prompt: Prompt) -> Object:
    """graphiti: the text as one fact between the first two of its entities; none where there is only one."""
    names = [str(one.get("name")) for one in _listed(prompt, "ENTITIES")]
    if len(names) < 2:
        return {"edges": []}
    edge = {
        "source_entity_name": names[0],
        "target_entity_name": names[1],
        "relation_type": "RELATES_TO",
        "fact": prompt.subject,
        "valid_at": None,
        "invalid_at": None,
        "episode_indices": [0],
    }
    return {"edges": [edge]}


def _duplicates(prompt: Prompt) -> Object:
    """graphiti: the existing facts that say the same, to the letter."""
    new = re.search(r"<NEW FACT>\s*(.*?)\s*</NEW FACT>", prompt.asked, re.DOTALL)
    same = [one.get("idx") for one in _listed(prompt, "EXISTING FACTS") if new and one.get("fact") == new[1]]
    return {"duplicate_facts": same, "contradicted_facts": []}


def _timestamps(prompt: Prompt) -> Object:
    return {"timestamps": [{"valid_at": None, "invalid_at": None} for _ in _listed(prompt, "FACTS")]}


def _timestamp(prompt: Prompt) -> Object:
    return {"valid_at": None, "invalid_at": None}


def _summaries(prompt: Prompt) -> Object:
    """graphiti: of each entity, the text."""
    summary = prompt.subject[:SUMMARY_CHARACTERS]
    return {"summaries": [{"name": one.get("name"), "summary": summary} for one in _listed(prompt, "ENTITIES")]}


def _summary(prompt: Prompt) -> Object:
    return {"summary": prompt.subject[:SUMMARY_CHARACTERS]}


SHAPES: Sequence[tuple[frozenset[str], Form]] = (
    (frozenset({"extracted_entities"}), _entities),
    (frozenset({"entity_resolutions"}), _resolutions),
    (frozenset({"edges"}), _edges),
    (frozenset({"duplicate_facts", "contradicted_facts"}), _duplicates),
    (frozenset({"timestamps"}), _timestamps),
    (frozenset({"valid_at", "invalid_at"}), _timestamp),
    (frozenset({"summaries"}), _summaries),
    (frozenset({"summary"}), _summary),
)
"""The properties of a schema, and what makes a value of it."""
