"""The database of a chat service: its tables, the seven indexes, and any database opened by its URL.

``init_db`` and ``create_indexes`` are for a service of one's own; ``suites/database`` measures what they make.  The
history of runs is another database, with a room of its own: ``history``.
"""

from __future__ import annotations

from perfsuite.database.indexes import INDEXES, Index, create_indexes, drop_indexes
from perfsuite.database.schema import init_db

__all__ = ["INDEXES", "Index", "create_indexes", "drop_indexes", "init_db"]
