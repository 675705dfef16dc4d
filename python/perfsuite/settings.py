"""The table of settings: from one row come a flag, a PERFSUITE_ variable, a key in the files and a line of ``plan``.

Nothing heavy is imported here, for the table is read by ``--help``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from perfsuite.units import parse_ratio, parse_tokens
from perfsuite.values import (
    ANY_PORT,
    agent_models,
    as_it_is,
    at_least,
    choice,
    choices,
    cluster,
    collector,
    environment_name,
    listening,
    names,
    non_negative_duration,
    path,
    place,
    positive_duration,
    positive_rate,
    several,
    switch,
    text,
)

Parser = Callable[[object, str], object]

PROFILES = ("quick", "standard", "full")
MODALITIES = ("audio", "text")
COLLECTED = ("cloud",)
ARRIVALS = ("constant", "poisson", "ramp", "step")


class Option:
    """A setting.

    ``name`` is its key in the files and the keyword of ``perfsuite.run``; ``flags`` its flags, ``variable`` its
    environment variable.  ``parse(value, where)`` takes what a flag, a variable or a file gave and returns the value.
    ``default`` is a value, or the text of one, as a file would give it.
    ``switch``: a flag without a value.  ``repeat``: several flags make a list.  ``scope``: ``any``, ``phase`` (also in
    a ``[[phases]]`` table, for that phase), ``flag`` (nowhere but on the command line) or ``ambient`` (not in the file
    that ``--plan`` names).  ``unit``: of a value that is a number with one (``s``).  ``bare``: what the flag means
    without a value, of one that may be given so.  ``writes``: it says where something of the run goes, so that a run
    which is made besides (again, or of another version) may not have it too.
    """

    __slots__ = (
        "bare", "choices", "default", "flags", "help", "metavar", "name", "parse", "repeat", "scope", "switch", "unit",
        "writes",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        parse: Parser,
        help: str,
        *,
        default: object = None,
        flags: tuple[str, ...] = (),
        metavar: str | None = None,
        switch: bool = False,
        repeat: bool = False,
        choices: tuple[str, ...] = (),
        scope: str = "any",
        unit: str = "",
        bare: str | None = None,
        writes: bool = False,
    ) -> None:
        self.name = name
        self.parse = parse
        self.help = help
        self.default = default
        self.flags = (*flags, f"--{name.replace('_', '-')}")
        self.metavar = metavar
        self.switch = switch
        self.repeat = repeat
        self.choices = choices
        self.scope = scope
        self.unit = unit
        self.bare = bare
        self.writes = writes

    @property
    def flag(self) -> str:
        """The long flag."""
        return self.flags[-1]

    def unset(self) -> object:
        """The value while no source has set it."""
        return self.parse(self.default, self.name) if isinstance(self.default, str) else self.default

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"PERFSUITE_{self.name.upper()}"


OPTIONS: tuple[Option, ...] = (
    Option("output", path, "folder for the results", default="test-results", flags=("-o",), metavar="DIR", writes=True),
    Option("verbose", switch, "say more; show tracebacks", default=False, flags=("-v",), switch=True),
    Option("phase", names, "run this phase (repeatable)", default=(), flags=("-p",), metavar="NAME", repeat=True),
    Option(
        "metrics",
        names,
        "measure only these, and fail when one cannot be decided (repeatable)",
        default=(),
        flags=("-m",),
        metavar="NAME[,NAME…]",
        repeat=True,
    ),
    Option(
        "threshold",
        as_it_is,
        "a criterion: ttft.p95<500ms, load.error_rate<2%%; = keeps the metric's own comparison; or a JSON object "
        "(repeatable; quote it, for the shell takes < and > for itself)",
        default=(),
        flags=("-t",),
        metavar="[PHASE.]METRIC[.STAT]<VALUE",
        repeat=True,
    ),
    Option(
        "target",
        text,
        "reference, http://HOST:PORT (responses+, anthropic+, ollama+http://…), realtime+ws://HOST:PORT, "
        "template:FILE, python:module:function, chatloop:module:Class, memory:NAME",
        default="reference",
        metavar="TARGET",
    ),
    Option("model", several, "a model to ask for (repeatable)", default=(), metavar="NAME[@URL]", repeat=True),
    Option("pid", at_least(1, 2**31 - 1), "the process of the system under test", metavar="PID"),
    Option(
        "collect",
        partial(choices, known=COLLECTED, kind="collector"),
        "note in the result what is only looked at when it is asked for: cloud, the kind and place of this machine by "
        "its cloud's metadata service (repeatable)",
        default=(),
        metavar="NAME",
        repeat=True,
        choices=COLLECTED,
    ),
    Option("quick", switch, "the same as --profile quick", default=False, switch=True),
    Option(
        "profile",
        partial(choice, known=PROFILES, kind="profile"),
        "lengths: full = as documented, standard = a minute, quick = five seconds for each documented hour",
        default="quick",
        choices=PROFILES,
    ),
    Option(
        "duration",
        positive_duration,
        "length of each phase, such as 30s; overrides the profile",
        metavar="TIME",
        unit="s",
    ),
    Option(
        "timeout",
        partial(positive_duration, bare="ms"),
        "the longest a phase may take; a bare number is in milliseconds",
        metavar="TIME",
        unit="s",
    ),
    Option(
        "request_timeout", positive_duration, "the longest a request may take", default=60.0, metavar="TIME", unit="s"
    ),
    Option(
        "max_requests", at_least(1), "send no more requests than this, in the whole run", metavar="N", scope="phase"
    ),
    Option(
        "max_tokens",
        at_least(1),
        "send no more once this many tokens were counted in the whole run",
        metavar="N",
        scope="phase",
    ),
    Option("prompt_tokens", parse_tokens, "length of the prompts; N±SD: spread", metavar="N[±SD]", scope="phase"),
    Option(
        "output_tokens", parse_tokens, "length of the answers asked for; N±SD: spread", metavar="N[±SD]", scope="phase"
    ),
    Option(
        "turns",
        at_least(1, 10**6),
        "messages in a conversation, each with the answers that the system gave before",
        metavar="N",
        scope="phase",
    ),
    Option(
        "prefix_cache",
        partial(choice, known=("cold", "warm"), kind="prefix cache"),
        "cold: no prompt begins like an earlier one",
        default="warm",
        choices=("cold", "warm"),
        scope="phase",
    ),
    Option("compression_ratio", parse_ratio, "target of compression_ratio", metavar="RATIO"),
    Option("min_savings", parse_ratio, "target of memory_savings", metavar="RATIO"),
    Option(
        "max_window_size",
        at_least(512, 10**8),
        "the largest context window tried, in tokens",
        default=8192,
        metavar="N",
        scope="phase",
    ),
    Option(
        "workers",
        at_least(1, 1000),
        "concurrent workers of throughput and database",
        default=10,
        metavar="N",
        scope="phase",
    ),
    Option(
        "samples",
        at_least(1, 10**7),
        "of each call of latency, and operations of throughput [by the profile]",
        metavar="N",
        scope="phase",
    ),
    Option(
        "max_scale",
        at_least(1, 10**9),
        "memories of the largest scale of footprint [by the profile]",
        metavar="N",
        scope="phase",
    ),
    Option(
        "url",
        place,
        "the database of database and checkpoint: an SQLAlchemy URL (a password goes in PERFSUITE_URL) or an SQLite "
        "file [one of its own]",
        metavar="URL",
        scope="phase",
    ),
    Option("rows", at_least(1, 10**8), "rows of each table of database [by the profile]", metavar="N", scope="phase"),
    Option(
        "queries",
        path,
        "measure the queries of this TOML file on tables of your own, and nothing else of database: [[queries]] with "
        "name, sql and parameters.NAME = { from = 1, to = 9 }, or a list to draw from",
        metavar="FILE",
        scope="phase",
    ),
    Option("dimension", at_least(1, 10**5), "floats of an embedding", default=384, metavar="N", scope="phase"),
    Option("optimization_threshold", parse_ratio, "target of window_optimization", metavar="RATIO"),
    Option("concurrency", at_least(1, 10**6), "requests in flight", metavar="N", scope="phase"),
    Option("rate", positive_rate, "requests due a second (open loop)", metavar="R", scope="phase"),
    Option(
        "arrivals",
        partial(choice, known=ARRIVALS, kind="spacing"),
        "how the requests of --rate are spaced; ramp and step climb to it",
        default="poisson",
        choices=ARRIVALS,
        scope="phase",
    ),
    Option("users", at_least(1, 10**6), "users who each send a message every --pace", metavar="N", scope="phase"),
    Option(
        "pace",
        positive_duration,
        "of one of --users: from message to message, whatever the answers take",
        default=1.0,
        metavar="TIME",
        scope="phase",
        unit="s",
    ),
    Option(
        "think",
        non_negative_duration,
        "of each of --concurrency: from an answer to the next message",
        default=0.0,
        metavar="TIME",
        scope="phase",
        unit="s",
    ),
    Option(
        "find_max",
        switch,
        "search the highest rate that meets the criteria (load phase)",
        default=False,
        switch=True,
        scope="phase",
    ),
    Option("conversations", path, "say what is in this file (messages as JSON or JSONL)", metavar="FILE"),
    Option("raw", path, "write every request's row to this file (.csv, else NDJSON)", metavar="FILE", writes=True),
    Option("plan", path, "a plan file (TOML): phases, and anything a flag sets", metavar="FILE", scope="ambient"),
    Option(
        "allow_python",
        switch,
        "let the plan file run Python: modules under its [plugins], a target python: or chatloop:",
        default=False,
        switch=True,
        scope="ambient",
    ),
    Option(
        "history",
        place,
        "where every run is recorded: an SQLAlchemy URL (a password goes in PERFSUITE_HISTORY), a file, or off "
        "[~/.local/share/perfsuite/history.db]",
        metavar="URL|FILE|off",
        scope="ambient",
    ),
    Option("seed", at_least(0, 2**63 - 1), "seed of everything that is drawn", default=0, metavar="N"),
    Option("strict", switch, "undecided and not measured criteria fail", default=False, switch=True),
    Option("api_key_env", environment_name, "the variable that holds the key of the service", metavar="NAME"),
    Option(
        "agent_model",
        agent_models,
        "the model that an agent of the service is meant to use, for checkpoint (repeatable)",
        default=(),
        metavar="AGENT=MODEL",
        repeat=True,
    ),
    Option(
        "modality",
        partial(choice, known=MODALITIES, kind="modality"),
        "of the answers of a realtime target: audio, which comes with its words written down, unless it is said",
        choices=MODALITIES,
    ),
    Option("tokenizer", path, "the model's tokenizer.json, or its folder, to count with", metavar="FILE"),
    Option(
        "trace", switch, "chat-loop leaks: name the lines that allocate what stays (slower)", default=False, switch=True
    ),
    Option(
        "cluster",
        cluster,
        "spread each load over the workers of a Dask scheduler (tcp://HOST:PORT, tls://…), or over N processes here",
        metavar="ADDRESS|local:N",
        scope="ambient",  # whom Dask connects to can have it run code, and a stranger's plan file names nobody
    ),
    Option(
        "rerun_lost",
        switch,
        "with --cluster: drive the part of a worker that was lost once more afterwards, as a row of its own",
        default=False,
        switch=True,
    ),
    Option(
        "live",
        listening,
        "charts while it runs, at a URL on stderr; beyond this machine with a token in PERFSUITE_LIVE_TOKEN "
        "[127.0.0.1, any port]",
        metavar="HOST:PORT",
        scope="ambient",
        bare=ANY_PORT,
        writes=True,
    ),
    Option("json", text, "print the result object on stdout", metavar="-", scope="flag", writes=True),
    Option("junitxml", path, "write the verdicts as JUnit XML", metavar="FILE", writes=True),
    Option(
        "otlp",
        collector,
        "send the figures to this OpenTelemetry collector, by OTLP over HTTP [OTEL_EXPORTER_OTLP_ENDPOINT]",
        metavar="URL",
        writes=True,
    ),
    Option(
        "prometheus_file",
        path,
        "keep the figures in this file as Prometheus text, for node_exporter's textfile collector (.prom)",
        metavar="FILE",
        writes=True,
    ),
)

BY_NAME = {option.name: option for option in OPTIONS}

WRITING = tuple(option for option in OPTIONS if option.writes)

PHASE_OPTIONS = frozenset(option.name for option in OPTIONS if option.scope == "phase")

OF_MEMORY = frozenset({"workers", "samples", "max_scale", "dimension"})
"""What only phases of a memory system heed."""
OF_DATABASE = frozenset({"url", "rows", "queries", "workers"})
"""What only phases of a database heed, but for ``workers``."""
OF_CHAT = frozenset(
    {"concurrency", "rate", "arrivals", "users", "pace", "think", "find_max", "max_requests", "max_tokens", "raw"}
    | {"prompt_tokens", "output_tokens", "turns", "prefix_cache", "conversations", "max_window_size", "tokenizer"}
    | {"model", "agent_model", "pid", "api_key_env", "modality", "trace"}
)
"""What only phases of a chat system heed."""
HEEDED = {"memory": OF_MEMORY, "chat": OF_CHAT, "database": OF_DATABASE}
"""By the kind of system that a phase is of."""
