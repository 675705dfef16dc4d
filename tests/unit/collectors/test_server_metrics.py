"""The server's own view: what is kept of its page, what is said where there is none, and what no page may do."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from perfsuite.collectors import Sampler, server, unit_of
from perfsuite.collectors.server import LARGEST_PAGE, PATIENCE, ServerCollector
from perfsuite.collectors.server_page import LONGEST_NAME, MOST_OTHERS, Page
from perfsuite.targets.base import MetricsPage
from perfsuite.targets.http.address import metrics_pages, parse_address
from serving import Client, chat, serving

LLAMA = """\
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing {running}
# TYPE llamacpp:requests_deferred gauge
llamacpp:requests_deferred 2
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total {tokens}
# TYPE llamacpp:n_busy_slots_per_decode gauge
llamacpp:n_busy_slots_per_decode {running}
# TYPE llamacpp:constant gauge
llamacpp:constant 7
"""
VLLM = """\
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{model_name="a"} 3.0
vllm:num_requests_running{model_name="b"} 4.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{model_name="a"} 1.0
# TYPE vllm:gpu_cache_usage_perc gauge
vllm:gpu_cache_usage_perc{model_name="a"} 0.25
vllm:gpu_cache_usage_perc{model_name="b"} 0.5
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{model_name="a"} 0.25
vllm:kv_cache_usage_perc{model_name="b"} 0.5
# TYPE vllm:e2e_request_latency_seconds histogram
vllm:e2e_request_latency_seconds_bucket{le="1.0"} 10.0
vllm:e2e_request_latency_seconds_count 12.0
vllm:e2e_request_latency_seconds_sum 3.0
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 5.0
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 1e9
"""

Answer = Callable[[Any], None]


class Pages:
    """A server on the loopback; ``answer`` is given the handler of each request."""

    def __init__(self, answer: Answer) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.path, dict(self.headers)))
                answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Pages:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def collector(self, path: str = "") -> ServerCollector:
        return ServerCollector(metrics_pages([parse_address(self.url + path, "test")]))


def text(*pages: str, status: int = 200) -> Answer:
    """Each page once, the last again and again."""
    turns: Iterator[str] = iter(pages)
    last = [""]

    def answer(handler: Any) -> None:
        last[0] = next(turns, last[0])
        body = last[0].encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def page(running: int, tokens: int) -> str:
    return LLAMA.replace("{running}", str(running)).replace("{tokens}", str(tokens))


def test_known_names_of_llama_and_others_once_they_change() -> None:
    with Pages(text(page(1, 100), page(3, 160), page(3, 40))) as pages:
        collector = pages.collector()
        assert collector.sample() == {"requests_running": 1.0, "requests_waiting": 2.0, "prompt_tokens": 0.0}
        second = collector.sample()
        assert second["prompt_tokens"] == 60.0  # what came since the phase began
        assert second["llamacpp:n_busy_slots_per_decode"] == 3.0
        assert "llamacpp:constant" not in second
        # The server began again: its counter fell, and what it counts now came since.
        assert collector.sample()["prompt_tokens"] == 100.0
        assert collector.absent is None


def test_labels_are_added_up_shares_are_the_largest_and_an_old_name_does_not_count_twice() -> None:
    later = VLLM.replace("process_cpu_seconds_total 5.0", "process_cpu_seconds_total 5.5")
    with Pages(text(VLLM, later)) as pages:
        collector = pages.collector("/v1")
        first = collector.sample()
        assert first == {
            "requests_running": 7.0,
            "requests_waiting": 1.0,
            "kv_cache_percent": 50.0,
            "resident_bytes": 1e9,
        }
        assert collector.sample()["cpu_percent"] > 0.0  # half a second of CPU in what passed
        assert [path for path, _ in pages.asked] == ["/metrics"] * 2


def test_two_servers_are_one_view() -> None:
    with Pages(text(page(1, 0))) as one, Pages(text(page(4, 0))) as other:
        addresses = [parse_address(url, "test") for url in (one.url, other.url)]
        assert ServerCollector(metrics_pages(addresses)).sample()["requests_running"] == 5.0


def test_a_page_below_the_base_is_found_before_the_root_and_the_root_after_it() -> None:
    def answer(handler: Any) -> None:
        text(page(1, 0), status=200 if handler.path == "/metrics" else 404)(handler)

    with Pages(answer) as pages:
        collector = pages.collector("/models/a/v1")
        assert collector.sample()["requests_running"] == 1.0
        collector.sample()
        assert [path for path, _ in pages.asked] == ["/models/a/metrics", "/metrics", "/metrics"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (text("no", status=404), "404 Not Found"),
        (text("<html>hello</html>"), "no Prometheus text"),
        (text(""), "there is no sample in it"),
        (text("x" * (LARGEST_PAGE + 2)), "larger than 1 MiB"),
    ],
)
def test_no_page_is_said_once_and_asked_no_more(answer: Answer, why: str) -> None:
    with Pages(answer) as pages:
        collector = pages.collector()
        sampler = Sampler([collector], 0.01)
        sampler.start()
        time.sleep(0.1)
        sampler.stop()
        assert len(pages.asked) == 1
        ((_, name, said),) = sampler.ended
        assert name == "server"
        assert "the server's own view is not measured" in said
        assert why in said
        assert sampler.series() == {}


def test_without_the_parser_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    with Pages(text(page(1, 1))) as pages:
        collector = pages.collector()
        assert "pip install perfsuite[prometheus]" in (collector.absent or "")
        assert pages.asked == []


def test_a_page_that_trickles_is_given_up_and_at_last_asked_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "TIMEOUT_S", 0.1)
    over = threading.Event()

    def trickle(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not over.wait(0.02):
            handler.wfile.write(b"X")  # within the time-out of each read, and never whole
            handler.wfile.flush()

    with Pages(trickle) as pages:
        try:
            collector = pages.collector()
            for _ in range(PATIENCE):
                assert collector.absent is None
                assert collector.sample() == {}
            assert f"not whole within 0.1 s, {PATIENCE} times in a row" in (collector.absent or "")
        finally:
            over.set()


def test_a_hiccup_is_forgiven() -> None:
    statuses = iter([200, 503, 503, 200])

    def answer(handler: Any) -> None:
        text(page(1, 0), status=next(statuses))(handler)

    with Pages(answer) as pages:
        collector = pages.collector()
        assert [bool(collector.sample()) for _ in range(4)] == [True, False, False, True]
        assert collector.absent is None


def test_what_is_kept_is_bounded() -> None:
    many = "".join(f'# TYPE m{n} gauge\nm{n}{{long="{"x" * 500}"}} {{value}}\n' for n in range(500))
    with Pages(text(many.replace("{value}", "1"), many.replace("{value}", "2"))) as pages:
        collector = pages.collector()
        assert collector.sample() == {}
        second = collector.sample()
        assert len(second) == MOST_OTHERS
        assert all(len(name) <= LONGEST_NAME for name in second)


def test_only_the_lines_that_are_kept_are_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    import prometheus_client.parser as parser

    parsed: list[int] = []
    whole = parser.text_string_to_metric_families

    def counted(given: str) -> Any:
        parsed.append(given.count("\n"))
        return whole(given)

    monkeypatch.setattr(parser, "text_string_to_metric_families", counted)
    many = page(1, 2) + "".join(f'h_bucket{{le="{n}"}} {n}\n' for n in range(5000))
    reader = Page()
    first, second = reader.read(many), reader.read(many)
    assert first == second
    assert parsed[0] > 5000
    assert max(parsed[1:]) < 20


def test_the_key_is_sent_and_not_shown() -> None:
    with Pages(text(page(1, 1))) as pages:
        (places,) = metrics_pages([parse_address(pages.url, "test")], [("Authorization", "Bearer the-secret-key")])
        assert all(isinstance(place, MetricsPage) and "the-secret-key" not in repr(place) for place in places)
        ServerCollector([places]).sample()
        assert pages.asked[0][1]["Authorization"] == "Bearer the-secret-key"


def test_the_projects_own_server_shows_its_view() -> None:
    async def go() -> dict[str, float]:
        async with serving() as own, Client(own) as client:
            collector = ServerCollector(metrics_pages([parse_address(own.url, "test")]))
            await asyncio.to_thread(collector.sample)
            await client.ask(body=chat("hello"))
            return dict(await asyncio.to_thread(collector.sample))

    found = asyncio.run(go())
    assert found["completion_tokens"] == 10.0
    assert found["prompt_tokens"] > 0.0
    assert found["resident_bytes"] > 1e6
    assert "cpu_percent" in found


@pytest.mark.parametrize(
    ("series", "unit"),
    [
        ("server.cached_prompt_tokens", "tokens"),
        ("server.kv_cache_percent", "%"),
        ("server.x_bytes{a=b_percent} (2)", "bytes"),
        ("server.work_seconds_total{le=1}", "s"),
        ("server.llamacpp:prompt_tokens_seconds", "1/s"),
        ("server.requests_running", "count"),
    ],
)
def test_units(series: str, unit: str) -> None:
    assert unit_of(series) == unit
