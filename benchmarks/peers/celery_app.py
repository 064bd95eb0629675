# mypy: ignore-errors
"""Celery: three tasks in a chain, Redis as broker and result store. Run in the peers' own environment.

celery_app.py RUNS SECONDS        the client; the worker is `celery -A celery_app worker`
"""

import asyncio
import os
import sys

from celery import Celery, chain
from measure import PAYLOAD, measure

URL = f"redis://127.0.0.1:{os.environ['PEER_PORT']}"
app = Celery("bench", broker=f"{URL}/0", backend=f"{URL}/1")
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=4,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
    result_expires=3600,
)


@app.task(name="bench.step")
def step(payload):
    """Pass it on."""
    return payload


def start():
    """A chain of three."""
    return chain(step.s(PAYLOAD), step.s(), step.s()).apply_async()


async def one():
    """A run, until its result is known."""
    assert start().get(timeout=60, interval=0.001) == PAYLOAD


async def many(count):
    """All submitted, then all awaited."""
    for each in [start() for _ in range(count)]:
        assert each.get(timeout=300, interval=0.001) == PAYLOAD


if __name__ == "__main__":
    asyncio.run(measure(one, many, int(sys.argv[1]), float(sys.argv[2]), ["celery", "kombu", "redis"]))
