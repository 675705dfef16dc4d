"""A template's ``[stream]`` as rules for the wire engine, where they say the same."""

from __future__ import annotations

from perfsuite.targets.http.paths import JsonPath, Sign
from perfsuite.targets.http.template_file import Template
from perfsuite.targets.http.template_reader import COMPLETION_NAMES, PROMPT_NAMES
from perfsuite.targets.http.wired import Endpoint, Rules

DONE = "[DONE]"
MOST_NAMES = 64


class NoRule(Exception):
    """What of the template an engine cannot read, in words."""


def endpoint_of(template: Template) -> Endpoint:
    """The template's address and how its answers read.  Raises NoRule."""
    form = template.stream
    if len(form.events) > MOST_NAMES:
        raise NoRule(f"event: more than {MOST_NAMES} names")
    finish = form.done if isinstance(form.done, str) else None
    if form.kind == "text" and isinstance(form.done, JsonPath):
        raise NoRule("done: raw text has no paths")
    rules = _rules(template)
    if finish is None and rules:
        finish = DONE
    return Endpoint(
        template.base,
        form.kind,
        rules,
        finish,
        marks_end=form.done is not None,
        speaks=True,
        # "message" is also what an event without a name is called.
        names=tuple(sorted(form.events | {""} if "message" in form.events else form.events)),
        cumulative=form.cumulative and form.kind != "text",
    )


def _rules(template: Template) -> Rules:
    form = template.stream
    done = form.done if isinstance(form.done, JsonPath) else None
    if form.kind == "text" or (form.text is form.usage is done is None and not form.errors):
        return ()  # all that comes is text
    if form.text is None:
        raise NoRule("text: without a path to it, a document's text is anywhere in it")
    rules = [("visible", rule_of(form.text, "text"))]
    rules += [("error", _sign(sign)) for sign in form.errors]
    if done is not None:
        rules.append(("finish", rule_of(done, "done")))
    if form.usage is not None:
        usage = rule_of(form.usage, "usage")
        # Of several that are there the last one counts: here, the name that is looked for first.
        rules += [("prompt", f"{usage}.{name}") for name in reversed(PROMPT_NAMES)]
        rules += [("completion", f"{usage}.{name}") for name in reversed(COMPLETION_NAMES)]
    return tuple(rules)


def _sign(sign: Sign) -> str:
    rule = rule_of(sign.path, "error")
    return rule if sign.equals is None else f"{rule}={sign.equals}"


def rule_of(path: JsonPath, where: str) -> str:
    """The path as a rule: places from a list's start, its last one, and names, none of which has a rule's own signs.
    Raises NoRule."""
    rule = ""
    for step in path.steps:
        if isinstance(step, int):
            if step < -1:
                raise NoRule(f"{where} = {path.text}: a place from a list's end")
            rule += f"[{step}]"
            continue
        if not step or any(sign in step for sign in '.[]="\\') or not step.isascii():
            raise NoRule(f"{where} = {path.text}: the name {step!r}")
        rule += f".{step}" if rule else step
    if not path.steps:
        raise NoRule(f"{where} = {path.text}: the document itself")
    return rule
