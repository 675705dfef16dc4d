"""Published sets of memory questions that a user has on disk, as memories and questions of the suite's own form.

- LongMemEval (Wu et al., ICLR 2025): an array of questions, each with the sessions that hide its evidence; turns that
  hold it are marked ``has_answer``.  Each question is a case of its own.
- LoCoMo (Maharana et al., ACL 2024): an array of conversations with their questions, whose ``evidence`` names turns.

Every turn is a memory.  What is scored is whether the turns that the set's authors labelled as evidence are found, so
that no model has to judge an answer.  Questions that the sets mark as having no answer (``_abs``, category 5) are
``unanswerable``.  Beside them each case has turns asked for in their own words, which any system finds that works.

A file is read one element at a time; what cannot be used is named by its line and left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from perfsuite.errors import UsageError
from perfsuite.workloads.memories import Memory, Question
from perfsuite.workloads.opening import PROBE, open_json
from perfsuite.workloads.splitter import LARGEST, Unusable, json_lines, json_values

FORMS = "LongMemEval's questions (haystack_sessions) or LoCoMo's conversations (conversation and qa)"
KEPT = 100
"""Reports of unusable parts that are kept; the others are counted."""
OWN_WORDS = 4
"""Turns of a case that are asked for in their own words."""
FEWEST_CHARACTERS, MOST_CHARACTERS = 40, 200
"""Of such a turn, and of what is asked with."""
NO_ANSWER = 5
"""LoCoMo's category of questions that the conversation does not answer."""
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LONGMEMEVAL_TIME = re.compile(r"(\d{4})/(\d{1,2})/(\d{1,2})(?:\D+(\d{1,2}):(\d{2}))?")
_LOCOMO_TIME = re.compile(r"(\d{1,2}):(\d{2})\s*([ap])m on (\d{1,2})\s+([a-z]+),?\s+(\d{4})", re.IGNORECASE)
_TURN = re.compile(r"D:?(\d+):0*(\d+)")


@dataclass(frozen=True, slots=True)
class PublishedCase:
    """An element of the file."""

    name: str
    group: str
    stored: tuple[Memory, ...]
    asked: tuple[Question, ...]

    def memories(self) -> Iterator[Memory]:
        """In the order of the conversation."""
        return iter(self.stored)

    def questions(self) -> tuple[Question, ...]:
        """The set's, then the turns in their own words."""
        return self.asked


class PublishedFile:
    """A file of LongMemEval or LoCoMo; at most ``asked`` of its questions, in its own order.

    ``set``: which one it is.  ``unusable`` and ``unusable_count`` are of the last reading, as far as it went.
    UsageError: the file cannot be read, or holds nothing that can be used.
    """

    def __init__(self, path: str | Path, asked: int = 300, largest: int = LARGEST) -> None:
        self.path = Path(path)
        self.unusable: list[Unusable] = []
        self.unusable_count = 0
        self._asked = asked
        self._largest = largest
        self.set = ""
        if next(self.cases(), None) is None:
            first = f"; line {self.unusable[0].line}: {self.unusable[0].reason}" if self.unusable else ""
            raise UsageError(f"{self.path} holds no question that can be used{first}; it must hold {FORMS}")

    @property
    def described(self) -> str:
        """In a sentence."""
        return (
            f"{self.set} from {self.path.name}, every turn a memory, at most {self._asked:,} questions, "
            "scored by its evidence labels"
        )

    def cases(self) -> Iterator[PublishedCase]:
        """Element by element, in bounded memory."""
        self.unusable, self.unusable_count = [], 0
        left = self._asked
        with open_json(self.path, "questions", FORMS) as stream:
            start = stream.tell()
            head = stream.read(PROBE).lstrip()
            stream.seek(start)
            # Elements are far longer than a line of an array that is laid out over several.
            parts = json_lines if head[:1] == b"{" and b"\n" not in head.rstrip()[:2] else json_values
            for part in parts(stream, self._largest):
                if left <= 0:
                    return
                if isinstance(part, Unusable):
                    self.report(part.line, part.reason)
                    continue
                value = self._decoded(part.line, part.data)
                if value is None:
                    continue
                case = self._case(part.line, value, left)
                if case is not None:
                    left -= sum(question.kind != "verbatim" for question in case.asked)
                    yield case

    def report(self, line: int, reason: str) -> None:
        """Notes a part that cannot be used."""
        self.unusable_count += 1
        if len(self.unusable) < KEPT:
            self.unusable.append(Unusable(line, reason))

    def _decoded(self, line: int, data: bytes) -> Mapping[str, object] | None:
        import msgspec

        try:
            value: object = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self.report(line, f"not JSON: {error}")
            return None
        except RecursionError:
            self.report(line, "nested too deeply")
            return None
        if not isinstance(value, dict):
            self.report(line, f"an object was expected, not {type(value).__name__}")
            return None
        return value

    def _case(self, line: int, value: Mapping[str, object], most: int) -> PublishedCase | None:
        if "haystack_sessions" in value:
            self.set = self.set or "LongMemEval"
            return _LongMemEval(self, line, value).case()
        if "conversation" in value and "qa" in value:
            self.set = self.set or "LoCoMo"
            return _LoCoMo(self, line, value).case(most)
        keys = ", ".join(repr(str(key)[:20]) for key in list(value)[:5])
        self.report(line, f"neither haystack_sessions nor conversation and qa in it, but {keys or 'nothing'}")
        return None


class _LongMemEval:
    """One question with its haystack."""

    def __init__(self, file: PublishedFile, line: int, value: Mapping[str, object]) -> None:
        self._file, self._line = file, line
        self._value = value
        self.id = str(value.get("question_id") or f"line {line}")

    def _report(self, reason: str) -> None:
        self._file.report(self._line, f"{self.id}: {reason}")

    def case(self) -> PublishedCase | None:
        value = self._value
        text = value.get("question")
        sessions = value.get("haystack_sessions")
        if not isinstance(text, str) or not text.strip() or not isinstance(sessions, list):
            self._report("no question, or no list of sessions, in it")
            return None
        stored: list[Memory] = []
        evidence: list[str] = []
        for number, name, when, session in self._sessions(sessions):
            turns = session if isinstance(session, list) else None
            if turns is None:
                self._report(f"session {number + 1} is no list of turns")
                continue
            for index, turn in enumerate(turns):
                content = turn.get("content") if isinstance(turn, dict) else None
                if not isinstance(content, str):
                    self._report(f"session {number + 1}, turn {index + 1}: no content in it")
                    continue
                if not content.strip():
                    continue
                key = f"{self.id}/{number}/{index}"
                stored.append(
                    Memory(
                        key=key,
                        text=content,
                        cluster=self.id,
                        session=name,
                        timestamp=None if when is None else when + index,
                        role=str(turn.get("role", "user")),
                    )
                )
                if turn.get("has_answer") is True:
                    evidence.append(key)
        unanswerable = self.id.endswith("_abs")
        if not stored or (not evidence and not unanswerable):
            self._report("no turn of it is marked has_answer" if stored else "no turn in it")
            return None
        question = Question(
            text=text,
            kind="unanswerable" if unanswerable else "asked",
            cluster=self.id,
            relevant=() if unanswerable else tuple(evidence),
        )
        return PublishedCase(self.id, self._file.set, tuple(stored), (question, *_own_words(stored, 1)))

    def _sessions(self, sessions: list[object]) -> list[tuple[int, str, float | None, object]]:
        """(number, name, time, turns), in the order of time: the oracle file has them in another."""
        dates, names = self._value.get("haystack_dates"), self._value.get("haystack_session_ids")
        found = [
            (number, _at(names, number) or f"session {number + 1}", _longmemeval_time(_at(dates, number)), session)
            for number, session in enumerate(sessions)
        ]
        if all(when is not None for _, _, when, _ in found):
            found.sort(key=lambda one: one[2] or 0.0)
        return found


class _LoCoMo:
    """One conversation with its questions."""

    def __init__(self, file: PublishedFile, line: int, value: Mapping[str, object]) -> None:
        self._file, self._line = file, line
        self._value = value
        self.id = str(value.get("sample_id") or f"line {line}")

    def _report(self, reason: str) -> None:
        self._file.report(self._line, f"{self.id}: {reason}")

    def case(self, most: int) -> PublishedCase | None:
        talk, asked = self._value.get("conversation"), self._value.get("qa")
        if not isinstance(talk, dict) or not isinstance(asked, list):
            self._report("the conversation is no object, or qa no list")
            return None
        stored = list(self._turns(talk))
        known = {memory.key for memory in stored}
        questions = list(islice(self._questions(asked, known), most))
        if not stored or not questions:
            self._report("no turn in it" if not stored else "no question in it that names its evidence")
            return None
        return PublishedCase(self.id, self._file.set, tuple(stored), (*questions, *_own_words(stored, OWN_WORDS)))

    def _turns(self, talk: Mapping[str, object]) -> Iterator[Memory]:
        numbers = sorted(int(name[8:]) for name in talk if re.fullmatch(r"session_\d+", name))
        for number in numbers:
            session = talk[f"session_{number}"]
            when = _locomo_time(talk.get(f"session_{number}_date_time"))
            if not isinstance(session, list):
                self._report(f"session_{number} is no list of turns")
                continue
            for index, turn in enumerate(session):
                text = turn.get("text") if isinstance(turn, dict) else None
                where = _turn_key(str(turn.get("dia_id", ""))) if isinstance(turn, dict) else None
                if not isinstance(text, str) or where is None:
                    self._report(f"session_{number}, turn {index + 1}: no text or no dia_id in it")
                    continue
                caption = turn.get("blip_caption")
                shown = f" [shares {caption}]" if isinstance(caption, str) and caption else ""
                yield Memory(
                    key=f"{self.id}/{where}",
                    text=f"{turn.get('speaker', 'Somebody')}: {text}{shown}",
                    cluster=self.id,
                    session=f"{self.id}/session_{number}",
                    timestamp=None if when is None else when + index,
                )

    def _questions(self, asked: list[object], known: set[str]) -> Iterator[Question]:
        for number, one in enumerate(asked):
            text = one.get("question") if isinstance(one, dict) else None
            if not isinstance(one, dict) or not isinstance(text, str) or not text.strip():
                self._report(f"question {number + 1}: no question in it")
                continue
            if one.get("category") == NO_ANSWER:
                yield Question(text=text, kind="unanswerable", cluster=self.id)
                continue
            labels = one.get("evidence")
            found = _TURN.findall(" ".join(map(str, labels))) if isinstance(labels, list) else []
            keys = tuple(dict.fromkeys(f"{self.id}/D{int(session)}:{int(turn)}" for session, turn in found))
            if not keys or not known.issuperset(keys):
                gone = [key for key in keys if key not in known]
                self._report(
                    f"question {number + 1}: " + (f"its evidence {gone[0]} is no turn" if gone else "no evidence named")
                )
                continue
            yield Question(text=text, kind="asked", cluster=self.id, relevant=keys)


def _turn_key(identifier: str) -> str | None:
    match = _TURN.fullmatch(identifier.strip())
    return f"D{int(match[1])}:{int(match[2])}" if match else None


def _own_words(stored: list[Memory], most: int) -> Iterator[Question]:
    """Turns spread over the conversation that begin as no other does, asked for in their own words."""
    opening: dict[str, int] = {}
    for memory in stored:
        opening[memory.text[:MOST_CHARACTERS]] = opening.get(memory.text[:MOST_CHARACTERS], 0) + 1
    usable = [
        memory
        for memory in stored
        if len(memory.text) >= FEWEST_CHARACTERS and opening[memory.text[:MOST_CHARACTERS]] == 1
    ]
    count = min(most, len(usable))
    for index in range(count):
        memory = usable[(2 * index + 1) * len(usable) // (2 * count)]
        yield Question(
            text=memory.text[:MOST_CHARACTERS], kind="verbatim", cluster=memory.cluster, relevant=(memory.key,)
        )


def _at(values: object, index: int) -> str | None:
    found = values[index] if isinstance(values, list) and index < len(values) else None
    return found if isinstance(found, str) else None


def _longmemeval_time(text: str | None) -> float | None:
    match = _LONGMEMEVAL_TIME.search(text or "")
    if match is None:
        return None
    year, month, day, hour, minute = (int(part or 0) for part in match.groups())
    return _seconds(year, month, day, hour, minute)


def _locomo_time(text: object) -> float | None:
    match = _LOCOMO_TIME.search(text) if isinstance(text, str) else None
    if match is None:
        return None
    hour, minute, half, day, month, year = match.groups()
    name = month[:3].lower()
    if name not in _MONTHS:
        return None
    hours = int(hour) % 12 + 12 * (half.lower() == "p")
    return _seconds(int(year), _MONTHS.index(name) + 1, int(day), hours, int(minute))


def _seconds(year: int, month: int, day: int, hour: int, minute: int) -> float | None:
    try:
        return datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp()
    except ValueError:
        return None
