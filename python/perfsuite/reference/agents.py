"""The named agents: each calls a model for one job, and its tokens are logged under its name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from perfsuite.reference.context import Message
from perfsuite.reference.counter import TokenCounter
from perfsuite.reference.model import SimulatedModel
from perfsuite.reference.tokenizer import count_prompt, render

PLANNER, MEMORY, RESPONDER = "planner", "memory", "responder"
PLAN = "Plan: reply recall or answer."
EXTRACT = "Extract: reply the numbers worth remembering."
PLAN_CHARACTERS = 600
PLAN_OUTPUT = 2
EXTRACT_TOKENS = 400
"""Most prompt tokens of the memory agent: what a longer message says beyond them is not remembered."""
OUTPUT_TOKENS = 32
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


@dataclass(frozen=True, slots=True)
class Spent:
    """The tokens of one call of a model by an agent, as the model counts them."""

    agent: str
    model: str
    prompt_tokens: int
    completion_tokens: int


def plan_messages(text: str) -> list[Message]:
    """The planner's prompt: of a long message its beginning and its end."""
    if len(text) > PLAN_CHARACTERS:
        text = f"{text[: PLAN_CHARACTERS // 2]} {text[-PLAN_CHARACTERS // 2 :]}"
    return [{"role": "system", "content": PLAN}, {"role": "user", "content": text}]


def plan_tokens(text: str, counter: TokenCounter) -> int:
    """The most tokens that planning for a message takes."""
    return counter.prompt(plan_messages(text)) + PLAN_OUTPUT


async def plan(text: str, model: SimulatedModel) -> tuple[bool, Spent]:
    """Whether a message needs what was said before, by the planner."""
    prompt = render(plan_messages(text))
    reply = [piece async for piece in model.stream(prompt, PLAN_OUTPUT)]
    return "".join(reply) == "recall", Spent(PLANNER, model.spec.name, count_prompt(prompt), len(reply))


def sentences(text: str) -> list[str]:
    """A text's sentences, on one line each."""
    return [" ".join(part.split()) for part in _SENTENCE_END.split(text) if part.strip()]


async def extract(text: str, model: SimulatedModel, counter: TokenCounter) -> tuple[list[str], Spent]:
    """The sentences of a message that are worth remembering, by the memory agent."""
    lines: list[str] = []
    taken = []
    used = counter.prompt([{"role": "system", "content": EXTRACT}, {"role": "user", "content": ""}])
    for sentence in sentences(text):
        line = f"{len(lines) + 1}. {sentence}"
        used += counter.text(line) + 1
        if used > EXTRACT_TOKENS:
            break
        lines.append(line)
        taken.append(sentence)
    messages = [{"role": "system", "content": EXTRACT}, {"role": "user", "content": "\n".join(lines)}]
    prompt = render(messages)
    reply = [piece async for piece in model.stream(prompt, OUTPUT_TOKENS)]
    chosen = [int(word) for word in "".join(reply).split() if word.isdigit()]
    spent = Spent(MEMORY, model.spec.name, count_prompt(prompt), len(reply))
    return [taken[number - 1] for number in chosen if 1 <= number <= len(taken)], spent
