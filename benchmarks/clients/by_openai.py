"""The openai package's asynchronous client."""

from __future__ import annotations

import asyncio
import sys

from report import Measured, arguments, ident, missing

try:
    import httpx
    import openai
except ImportError as error:
    sys.exit(missing(error))


async def main() -> None:
    url, streams, rounds, tokens = arguments()
    measured = Measured()
    limits = httpx.Limits(max_connections=streams, max_keepalive_connections=streams)
    client = openai.AsyncOpenAI(
        base_url=f"{url}/v1",
        api_key="none",
        max_retries=0,
        http_client=openai.DefaultAsyncHttpxClient(limits=limits, timeout=120.0),
    )

    async def stream(number: int) -> None:
        for turn in range(rounds):
            name, counted = ident(number, turn, rounds)
            token = measured.begin()
            answer = await client.chat.completions.create(
                model="paced",
                stream=True,
                stream_options={"include_usage": True},
                max_tokens=tokens,
                messages=[{"role": "user", "content": "Tell me of the sea."}],
                extra_headers={"x-request-id": name},
            )
            async for chunk in answer:
                if chunk.choices and chunk.choices[0].delta.content:
                    token(counted)
            measured.end()

    await asyncio.gather(*(stream(number) for number in range(streams)))
    measured.printed()


asyncio.run(main())
