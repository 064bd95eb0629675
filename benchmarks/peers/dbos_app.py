# mypy: ignore-errors
"""DBOS: a workflow of three steps in this process, which is the library's own model, on PostgreSQL.

dbos_app.py RUNS SECONDS          run in the peers' own environment
"""

import asyncio
import os
import sys

from dbos import DBOS
from measure import PAYLOAD, flood, measure

IN_FLIGHT = 64


@DBOS.step()
async def first(payload: str) -> str:
    """Pass it on."""
    return payload


@DBOS.step()
async def second(payload: str) -> str:
    """Pass it on."""
    return payload


@DBOS.step()
async def third(payload: str) -> str:
    """Pass it on."""
    return payload


@DBOS.workflow(name="chain")
async def chain(payload: str) -> str:
    """Three steps, the output of each stored."""
    return await third(await second(await first(payload)))


async def one():
    """A run, until its result is known."""
    handle = await DBOS.start_workflow_async(chain, PAYLOAD)
    assert await handle.get_result() == PAYLOAD


async def many(count):
    """Some at once."""
    await flood(one, count, IN_FLIGHT)


async def main():
    """Measure."""
    url = f"postgresql://bench@127.0.0.1:{os.environ['PEER_PORT']}/postgres"
    DBOS(config={"name": "bench", "system_database_url": url, "log_level": "WARNING", "application_version": "1"})
    DBOS.launch()
    await measure(one, many, int(sys.argv[1]), float(sys.argv[2]), ["dbos", "psycopg", "sqlalchemy"])
    DBOS.destroy()


if __name__ == "__main__":
    asyncio.run(main())
