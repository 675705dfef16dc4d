"""Finished conversations to be stored: generated with facts planted in them, or those of a user's file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from perfsuite.plan import Workload
from perfsuite.targets.base import Fact, Message
from perfsuite.workloads.conversations import conversations
from perfsuite.workloads.files import ConversationFile


@dataclass(frozen=True, slots=True)
class Transcript:
    """A finished conversation, and the facts that are planted in it; a user's own has none that are known."""

    messages: Sequence[Message]
    facts: tuple[Fact, ...] = ()


def transcripts(workload: Workload, seed: int, smallest: int) -> Iterator[Transcript | None]:
    """Conversations whose transcripts, as JSON in UTF-8, have ``smallest`` bytes or more.

    Without end where they are generated.  A file's come once, in their order, and None stands for each that is too
    small, so that a reader of many can pause between them.  Raises UsageError for a file that cannot be read.
    """
    import msgspec

    if workload.conversations is None:
        for one in conversations(seed, minimum_bytes=smallest):
            yield Transcript(one.messages(), one.facts)
        return
    for recorded in ConversationFile(workload.conversations):
        plain: list[Message] = [{"role": one["role"], "content": one["content"]} for one in recorded.messages]
        yield Transcript(plain) if len(msgspec.json.encode(plain)) >= smallest else None
