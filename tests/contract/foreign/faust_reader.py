"""A Faust application that knows nothing of farandole: it writes down what it reads from an `events` topic.

Run as a process of its own: `faust_reader.py BOOTSTRAP TOPIC COUNT FOLDER`; it ends after COUNT events.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import faust

bootstrap, topic, count, folder = sys.argv[1:5]
sys.argv = [sys.argv[0], "worker", "--loglevel", "error"]
app: Any = faust.App(
    f"{topic}-reader",
    broker=f"kafka://{bootstrap}",
    datadir=folder,
    web_enabled=False,
    topic_disable_leader=True,
    consumer_auto_offset_reset="earliest",
)
seen: list[str] = []


def end() -> None:
    """Leave what was read; Faust's own shutdown would wait for a rebalance."""
    Path(folder, "read.jsonl").write_text("\n".join(seen))
    os._exit(0)


async def read(stream: Any) -> None:
    """One JSON line for each event: its attributes from the headers, and how long its value is."""
    async for event in stream.events():
        headers = {name: bytes(value).decode() for name, value in dict(event.headers).items()}
        seen.append(json.dumps({**headers, "bytes": len(event.value)}))
        if len(seen) >= int(count):
            end()


app.agent(app.topic(topic, value_type=bytes, key_serializer="raw", value_serializer="raw"))(read)
app.main()
