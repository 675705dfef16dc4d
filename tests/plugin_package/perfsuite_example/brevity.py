"""A benchmark: how long the answers are, and how many keep to fifty words."""

from __future__ import annotations

from collections.abc import Mapping

from perfsuite import Benchmark, Histogram, Probe
from perfsuite.evidence import Evidence, Samples, Share
from perfsuite.loadgen import Times
from perfsuite.suites.session import Session
from perfsuite.suites.streaming import streaming_evidence
from perfsuite.targets.base import Failure, Reply, Request
from perfsuite.workloads.requests import requests

BRIEF = 50


async def measure(session: Session) -> Mapping[str, Evidence]:
    """Holds two conversations at a time, and counts the words of what comes back."""
    words, brief = Histogram(), 0
    slots = session.load.concurrency or 2
    said = requests(session.seed, slots=slots, workload=session.workload, models=session.target.models[:1])

    def heard(request: Request, reply: Reply | None, failure: Failure | None, times: Times) -> None:
        nonlocal brief
        said.answered(request, reply)
        if reply is not None:
            count = len(reply.text.split())
            words.record(count)
            brief += count <= BRIEF

    stretch = await session.drive("brevity", said, duration_s=session.remaining_s(), concurrency=slots, on_reply=heard)
    return {
        **streaming_evidence(stretch),
        "answer_words": Samples(histogram=words),
        "brief_answers": Share(hits=brief, trials=words.count),
    }


benchmark = Benchmark(
    phases=[
        {
            "name": "brevity",
            "title": "Brevity",
            "duration": "10m",
            "metrics": ["answer_words", "brief_answers", "response_time"],
            "success_criteria": {"brief_answers": "80%"},
        }
    ],
    metrics={
        "answer_words": {
            "unit": "count",
            "kind": "histogram",
            "stat": "p95",
            "comparison": "<",
            "definition": "Words of an answer.",
        },
        "brief_answers": {
            "unit": "ratio",
            "kind": "ratio",
            "stat": "value",
            "comparison": ">=",
            "definition": "Share of the answers with fifty words or fewer.",
        },
    },
    probes=[Probe(name="brevity", shows=("answer_words", "brief_answers"), drives=True, function=measure)],
)
