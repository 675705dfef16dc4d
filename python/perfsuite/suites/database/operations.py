"""What a chat service asks of its database: sessions and messages made, and a look-up for each of the seven indexes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from perfsuite.database.indexes import INDEXES, Index
from perfsuite.database.queries import Drawn, Listed, NamedQuery, Span
from perfsuite.suites.database.rows import Sizes

NEWEST = 20
"""Rows of a query for the newest."""
SESSION_LOOKUPS = ("idx_sessions_user_id", "idx_messages_session_id", "idx_agent_logs_session_id")
"""What a service looks up at each message: the sessions of a user, the messages and the logs of a session."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """A query, the index that is for it, and the metric that its times belong to."""

    query: NamedQuery
    index: Index
    metric: str


def creations(prefix: str, sizes: Sizes) -> dict[str, NamedQuery]:
    """Making a session and making a message, by the metric of each: a transaction."""
    users = Span(0, sizes.users - 1)
    return {
        "session_create_time": NamedQuery(
            name="session creation",
            sql=f"INSERT INTO {prefix}sessions (user_id, profile_id, title, created_at) "
            "VALUES ('user-' || CAST(:user AS VARCHAR(20)), 'profile-' || CAST(:profile AS VARCHAR(20)), "
            "'a new session', CURRENT_TIMESTAMP)",
            parameters={"user": users, "profile": Span(0, sizes.profiles - 1)},
            writes=True,
        ),
        "message_create_time": NamedQuery(
            name="message creation",
            sql=f"INSERT INTO {prefix}messages (session_id, role, content, tokens, created_at) "
            "VALUES (:session, 'user', :content, 30, CURRENT_TIMESTAMP)",
            parameters={"session": Span(1, sizes.rows), "content": Listed(tuple(_CONTENTS))},
            writes=True,
        ),
    }


def lookups(prefix: str, sizes: Sizes) -> list[Lookup]:
    """A query for each of the seven indexes."""
    texts: dict[str, tuple[str, Mapping[str, Drawn]]] = {
        "idx_sessions_user_id": (
            f"SELECT id, title, created_at FROM {prefix}sessions WHERE user_id = :user ORDER BY created_at",
            {"user": _names("user", sizes.users)},
        ),
        "idx_messages_session_id": (
            f"SELECT id, role, content FROM {prefix}messages WHERE session_id = :session ORDER BY created_at",
            {"session": Span(1, sizes.talked)},
        ),
        "idx_memories_profile_id": (
            f"SELECT id, content, importance FROM {prefix}memories WHERE profile_id = :profile",
            {"profile": _names("profile", sizes.profiles)},
        ),
        "idx_agent_logs_session_id": (
            f"SELECT agent, model, prompt_tokens FROM {prefix}agent_logs WHERE session_id = :session",
            {"session": Span(1, sizes.logged)},
        ),
        "idx_memories_user_id": (
            f"SELECT id, content, importance FROM {prefix}memories WHERE user_id = :user",
            {"user": _names("user", sizes.remembered)},
        ),
        "idx_memories_created_at": (
            f"SELECT id, content, importance FROM {prefix}memories ORDER BY created_at DESC LIMIT {NEWEST}",
            {},
        ),
        "idx_messages_created_at": (
            f"SELECT id, role, content FROM {prefix}messages ORDER BY created_at DESC LIMIT {NEWEST}",
            {},
        ),
    }
    found = []
    for index in INDEXES:
        sql, parameters = texts[index.name]
        metric = f"{'logs' if index.table == 'agent_logs' else index.table}_query_time"
        found.append(Lookup(NamedQuery(name=index.speeds, sql=sql, parameters=parameters), index, metric))
    return found


def _names(kind: str, count: int) -> Listed:
    """So many names that all are as likely; of many a thousand."""
    step = max(1, count // 1000)
    return Listed(tuple(f"{kind}-{number}" for number in range(0, count, step)))


_CONTENTS = (
    "What did we say about the garden last week?",
    "Please summarise what I told you so far, and keep the dates.",
    "My sister moves to Lisbon in March; remind me to send her the photographs before she leaves.",
)
