"""The rows that a table is filled with: seeded, made as they are stored."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta

from perfsuite.workloads.prose import sentences

BEGINNING = datetime(2025, 1, 27)
SESSIONS_OF_USER = 10
USERS_OF_PROFILE = 2
MESSAGES_OF_SESSION = 20
LOGS_OF_SESSION = 40
MEMORIES_OF_USER = 25
AGENTS = (("planner", "sim-utility"), ("memory", "sim-utility"), ("responder", "sim-small"))


class Sizes:
    """How many there are of what, for ``rows`` rows in each table."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.users = max(1, rows // SESSIONS_OF_USER)
        self.talked = max(1, rows // MESSAGES_OF_SESSION)
        self.logged = max(1, rows // LOGS_OF_SESSION)
        self.remembered = max(1, rows // MEMORIES_OF_USER)
        self.profiles = max(1, self.remembered // USERS_OF_PROFILE)

    def of(self, table: str, seed: int) -> Iterator[dict[str, object]]:
        """The rows of a table, without their ids, which count from 1."""
        rng = random.Random(f"{table} {seed}")
        words = sentences(seed)
        for number in range(self.rows):
            at = BEGINNING + timedelta(seconds=37 * number + rng.randrange(37))
            yield {**self._row(table, rng, words), "created_at": at}

    def _row(self, table: str, rng: random.Random, words: Iterator[str]) -> dict[str, object]:
        if table == "sessions":
            user = rng.randrange(self.users)
            profile = user % self.profiles
            return {"user_id": f"user-{user}", "profile_id": f"profile-{profile}", "title": next(words)[:60]}
        if table == "messages":
            content = next(words)
            role = rng.choice(("user", "assistant"))
            session = rng.randint(1, self.talked)
            return {"session_id": session, "role": role, "content": content, "tokens": len(content) // 4}
        if table == "memories":
            user = rng.randrange(self.remembered)
            return {
                "user_id": f"user-{user}",
                "profile_id": f"profile-{user % self.profiles}",
                "content": next(words),
                "importance": rng.random(),
            }
        agent, model = rng.choice(AGENTS)
        return {
            "session_id": rng.randint(1, self.logged),
            "agent": agent,
            "model": model,
            "prompt_tokens": rng.randint(20, 2000),
            "completion_tokens": rng.randint(1, 64),
        }
