"""Start a run from an application, and wait for its result: what `start-and-watch.md` shows."""

import asyncio
import sys

from greetings import greetings

from farandole import Client


async def greet(client: Client, name: str) -> str:
    """The annotation of the pipeline is the type of the result."""
    run = await client.start(greetings, name, run_id=f"greet-{name}")
    greeting = await run.result(timeout="30s")
    return greeting.text


async def main(name: str) -> None:
    """`Client()` finds log and namespace as the command line does: FARANDOLE_*, then the nearest farandole.toml."""
    async with Client() as client:
        print(await greet(client, name))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
