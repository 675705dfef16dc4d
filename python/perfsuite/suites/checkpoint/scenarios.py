"""What is said to the system in each scenario, one message after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice

from perfsuite.targets.base import Message, Reply, Request
from perfsuite.workloads.conversations import acknowledgement
from perfsuite.workloads.memories import Memory, Question, SeededCase
from perfsuite.workloads.prose import sentences

MEMORIES, TOLD = 200, 120
"""The checkpoint asks for a hundred and more; those that are told in messages all stand in a prompt together."""
FACTS_OF = 4
"""Of so many memories of the workload at least one is a fact, which alone are taken here: small talk fills prompts."""
TOLD_AT_ONCE = 10
"""Memories in a message, where they can be told in messages alone."""
TURNS_BEFORE = 60
"""Messages of a long conversation before the first that is timed."""
TOKENS_A_CHARACTER = 0.2
"""At least, of English prose."""
SIMPLE = (
    "What is a port?",
    "How many days has a leap year?",
    "Which is larger, a kilobyte or a megabyte?",
    "Can you name a prime number?",
    "What does a compiler do?",
    "Why is the sky blue?",
    "Where does coffee come from?",
    "Which language is spoken in Brazil?",
)


COUNTS = {"quick": 6, "standard": 20, "full": 50}
"""Messages of each scenario, by profile: as many as that are sent, whatever they take."""
OVERSIZED = 2
BUDGET = 5000
"""Tokens of a message, over all agents, and how many messages are to show that it is enforced."""
CHARACTERS_A_TOKEN, ANSWER_CHARACTERS = 4, 200


class Scenarios:
    """The messages of one run; ``seed`` and ``run`` make users and conversations that nobody else has."""

    def __init__(self, seed: int, run: str, models: Sequence[str], memories: int) -> None:
        self._seed = seed
        self._run = run
        self._model = next(iter(models), None)
        case = SeededCase(seed, FACTS_OF * memories, FACTS_OF * memories)
        facts = (memory for memory in case.memories() if memory.marker)
        self.memories: list[Memory] = list(islice(facts, memories))
        known = {memory.key for memory in self.memories}
        self.questions: list[Question] = [
            one for one in case.questions() if one.kind == "verbatim" and set(one.relevant) <= known
        ]
        self.user = f"checkpoint-{run}"
        self._said: dict[str, list[Message]] = {}

    def simple(self, count: int) -> Iterator[Request]:
        """Short questions, each in a conversation of its own."""
        for number in range(count):
            yield self._request(SIMPLE[number % len(SIMPLE)], f"simple-{number}", user=f"{self.user}-simple")

    def told(self) -> Iterator[Request]:
        """All memories, some in each message of one conversation."""
        self._said[self.conversation("memories")] = []
        for start in range(0, len(self.memories), TOLD_AT_ONCE):
            text = " ".join(memory.text for memory in self.memories[start : start + TOLD_AT_ONCE])
            yield self._request(text, "memories")

    def asked(self, count: int, *, told: bool) -> Iterator[Request]:
        """Questions about the memories; ``told``: in the conversation that they were told in."""
        for number in range(count):
            question = self.questions[number % len(self.questions)]
            yield self._request(question.text, "memories" if told else f"asked-{number}")

    def long(self, count: int) -> Iterator[Request]:
        """Messages at the end of a long conversation."""
        prose = sentences(self._seed)
        said = self._said[self.conversation("long")] = []
        for number in range(TURNS_BEFORE // 2):
            said += [_user(next(prose)), _assistant(acknowledgement(number))]
        for _ in range(count):
            text = f"{next(prose)} What do you make of that?"
            yield self._request(text, "long", user=f"{self.user}-long")

    def answered(self, request: Request, reply: Reply | None) -> None:
        """What a conversation goes on from: a service may know it by the very words of its answers."""
        said = self._said.get(request.conversation_id)
        if said is not None and reply is not None:
            said += [_user(request.message), _assistant(reply.text)]

    def oversized(self, budget_tokens: int, count: int) -> Iterator[Request]:
        """Messages that alone are more than the budget, whoever counts."""
        prose = sentences(self._seed + 1)
        for number in range(count):
            parts: list[str] = []
            length = 0
            while length * TOKENS_A_CHARACTER < budget_tokens * 1.2:
                parts.append(next(prose))
                length += len(parts[-1]) + 1
            yield self._request(" ".join(parts), f"oversized-{number}", user=f"{self.user}-oversized")

    def conversation(self, name: str) -> str:
        """The id of a conversation."""
        return f"checkpoint-{self._run}-{name}"

    def _request(self, text: str, name: str, *, user: str | None = None) -> Request:
        conversation = self.conversation(name)
        return Request(
            message=text,
            messages=[*self._said.get(conversation, ()), _user(text)],
            user_id=user or self.user,
            conversation_id=conversation,
            model=self._model,
        )


def about(seed: int, profile: str) -> tuple[int, int]:
    """The messages that a black box is sent, and about how many tokens their prompts have together."""
    scenarios, count = Scenarios(seed, "", (), TOLD), COUNTS[profile]
    messages = characters = 0
    asked = (scenarios.asked(count, told=True), scenarios.long(count), scenarios.oversized(BUDGET, OVERSIZED))
    for request in chain(scenarios.simple(count), scenarios.told(), *asked):
        messages += 1
        characters += sum(len(str(one["content"])) for one in request.messages)
        scenarios.answered(request, Reply(text="." * ANSWER_CHARACTERS))
    return messages, characters // CHARACTERS_A_TOKEN


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}
