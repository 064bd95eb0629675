# mypy: ignore-errors
"""Restate: a workflow of three journaled steps, served by hypercorn. Run in the peers' own environment.

restate_app.py RUNS SECONDS       the client, which waits on the ingress call
"""

import asyncio
import itertools
import os
import sys
import uuid

import aiohttp
import restate
from measure import PAYLOAD, flood, measure

IN_FLIGHT = 64
"""More gave no more when it was tried; 16 gave less."""

chain = restate.Workflow("Chain")


async def pass_on(payload):
    """Pass it on."""
    return payload


@chain.main()
async def run(ctx: restate.WorkflowContext, payload: str) -> str:
    """Three steps, each stored before the next."""
    for step in ("first", "second", "third"):
        payload = await ctx.run_typed(step, pass_on, payload=payload)
    return payload


app = restate.app([chain])


async def main():
    """Measure."""
    ingress, tag, numbers = f"http://127.0.0.1:{os.environ['PEER_PORT']}", uuid.uuid4().hex[:6], itertools.count()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:

        async def one():
            url = f"{ingress}/Chain/{tag}-{next(numbers)}/run"
            async with http.post(url, json=PAYLOAD) as answer:
                assert answer.status == 200, await answer.text()
                assert await answer.json(content_type=None) == PAYLOAD

        async def many(count):
            await flood(one, count, IN_FLIGHT)

        await measure(one, many, int(sys.argv[1]), float(sys.argv[2]), ["restate-sdk", "hypercorn"])


if __name__ == "__main__":
    asyncio.run(main())
