"""Small files of the form of published sets, made up: nothing of the sets themselves is in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILLER = (
    "I have been reading about the history of lighthouses on the northern coast",
    "Could you suggest a good way to sharpen kitchen knives without a machine",
    "My neighbour repaired an old accordion and now plays it every single evening",
    "The train was late again so I listened to a long programme about beekeeping",
    "We painted the fence green although everybody had voted for a darker colour",
    "There is a small museum of clocks behind the station that hardly anybody visits",
)


def longmemeval(questions: int = 4) -> list[dict[str, Any]]:
    """Questions with three sessions each; the last has no answer."""
    found = []
    for number in range(questions):
        fact = f"I finally adopted a parrot called Zebulon{number} from the shelter in Arlen{number}"
        sessions = [
            [
                {"role": "user", "content": f"{FILLER[(number + s) % 6]}, number {number}-{s}."},
                {"role": "assistant", "content": f"That sounds interesting, tell me more about it ({number}-{s})."},
            ]
            for s in range(3)
        ]
        last = number == questions - 1
        if not last:
            sessions[1].append({"role": "user", "content": fact, "has_answer": True})
        found.append(
            {
                "question_id": f"q{number}{'_abs' if last else ''}",
                "question_type": "single-session-user",
                "question": f"What is the name of my parrot from Arlen{number}?",
                "answer": f"Zebulon{number}",
                "question_date": "2023/05/30 (Tue) 23:40",
                "haystack_session_ids": [f"s{number}-{s}" for s in range(3)],
                "haystack_dates": [f"2023/05/2{s} (Sat) 02:21" for s in range(3)],
                "haystack_sessions": sessions,
                "answer_session_ids": [f"s{number}-1"],
            }
        )
    return found


def locomo(conversations: int = 2) -> list[dict[str, Any]]:
    """Conversations of two sessions, with four questions each: two usable, one without answer, one without evidence."""
    found = []
    for number in range(conversations):
        talk: dict[str, Any] = {"speaker_a": "Ada", "speaker_b": "Bob"}
        for s in (1, 2):
            talk[f"session_{s}_date_time"] = f"{s}:56 pm on {7 + s} May, 2023"
            talk[f"session_{s}"] = [
                {"speaker": "Ada", "dia_id": f"D{s}:1", "text": f"{FILLER[number + s]}, Bob {number}{s}!"},
                {"speaker": "Bob", "dia_id": f"D{s}:2", "text": f"I bought a kayak named Quill{number}{s} last week."},
                {
                    "speaker": "Ada",
                    "dia_id": f"D{s}:3",
                    "text": f"Look at this picture {number}{s}.",
                    "blip_caption": f"a red barn near Wexby{number}{s}",
                },
            ]
        found.append(
            {
                "sample_id": f"conv-{number}",
                "conversation": talk,
                "qa": [
                    {"question": "What is Bob's kayak named?", "answer": "Quill", "evidence": ["D1:2"], "category": 4},
                    {"question": "Which barns did Ada show?", "evidence": ["D1:03; D2:3"], "category": 1},
                    {"question": "What did Ada name her kayak?", "evidence": ["D1:2"], "category": 5},
                    {"question": "Who is happy?", "answer": "nobody", "evidence": [], "category": 3},
                ],
            }
        )
    return found


def written(path: Path, values: list[dict[str, Any]], *, indent: int | None = None) -> Path:
    """As the sets are: one array."""
    path.write_text(json.dumps(values, indent=indent), encoding="utf-8")
    return path
