"""aiohttp, line by line, json.loads of each event: what most home-made clients do."""

from __future__ import annotations

import asyncio
import sys

from report import Measured, arguments, body, content, ident, missing

try:
    import aiohttp
except ImportError as error:
    sys.exit(missing(error))


async def main() -> None:
    url, streams, rounds, tokens = arguments()
    measured = Measured()
    connector = aiohttp.TCPConnector(limit=streams)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=120)) as session:

        async def stream(number: int) -> None:
            for turn in range(rounds):
                name, counted = ident(number, turn, rounds)
                token = measured.begin()
                request = session.post(f"{url}/v1/chat/completions", json=body(tokens), headers={"x-request-id": name})
                async with request as answer:
                    async for line in answer.content:
                        if line.startswith(b"data: ") and content(line[6:].strip()):
                            token(counted)
                measured.end(answer.status != 200)

        await asyncio.gather(*(stream(number) for number in range(streams)))
    measured.printed()


asyncio.run(main())
