"""locust with its fast client, in one process: users who read their stream line by line."""

from __future__ import annotations

import itertools
import sys

from report import Measured, arguments, body, content, ident, missing

try:
    import gevent
    from locust import constant, task
    from locust.contrib.fasthttp import FastHttpUser
    from locust.env import Environment
    from locust.exception import StopUser
except ImportError as error:
    sys.exit(missing(error))

url, streams, rounds, tokens = arguments()
measured = Measured()
numbers = itertools.count()


class Reader(FastHttpUser):
    host = url
    wait_time = constant(0)
    network_timeout = connection_timeout = 120.0
    concurrency = streams

    @task
    def read(self) -> None:
        number = next(numbers)
        if number >= streams:  # one that takes a stopped user's place
            gevent.sleep(0.05)
            return
        for turn in range(rounds):
            name, counted = ident(number, turn, rounds)
            token = measured.begin()
            with self.client.post(
                "/v1/chat/completions",
                json=body(tokens),
                headers={"x-request-id": name},
                stream=True,
                catch_response=True,
            ) as answer:
                while line := answer.stream.readline(b"\n"):
                    if line.startswith(b"data: ") and content(line[6:].strip()):
                        token(counted)
            measured.end(answer.status_code != 200)
        raise StopUser


environment = Environment(user_classes=[Reader])
runner = environment.create_local_runner()
runner.start(streams, spawn_rate=max(streams, 1))
while measured.tokens < streams * rounds * tokens and (runner.user_count or not measured.held):
    gevent.sleep(0.05)
runner.quit()
measured.printed()
