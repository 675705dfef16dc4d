"""httpx, line by line, json.loads of each event."""

from __future__ import annotations

import asyncio
import sys

from report import Measured, arguments, body, content, ident, missing

try:
    import httpx
except ImportError as error:
    sys.exit(missing(error))


async def main() -> None:
    url, streams, rounds, tokens = arguments()
    measured = Measured()
    limits = httpx.Limits(max_connections=streams, max_keepalive_connections=streams)
    async with httpx.AsyncClient(limits=limits, timeout=120.0) as client:

        async def stream(number: int) -> None:
            for turn in range(rounds):
                name, counted = ident(number, turn, rounds)
                token = measured.begin()
                request = client.stream(
                    "POST", f"{url}/v1/chat/completions", json=body(tokens), headers={"x-request-id": name}
                )
                async with request as answer:
                    async for line in answer.aiter_lines():
                        if line.startswith("data: ") and content(line[6:]):
                            token(counted)
                measured.end(answer.status_code != 200)

        await asyncio.gather(*(stream(number) for number in range(streams)))
    measured.printed()


asyncio.run(main())
