"""A step that writes to a sink outside, which knows tokens: it refuses a lower one than it has seen."""

import fcntl
import os
import time
from pathlib import Path

from farandole import Context, agent, pipeline


def accept(folder: Path, token: tuple[int, int], writer: int) -> bool:
    """Write to the sink, unless somebody wrote with a higher token; either is a line of its file."""
    with (folder / "sink").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        seen = [tuple(map(int, line.split()[2:4])) for line in file]
        is_accepted = all(token >= other for other in seen)
        file.write(f"{'accepted' if is_accepted else 'refused'} {writer} {token[0]} {token[1]}\n")
    return is_accepted


@agent
def deliver(ctx: Context, folder: str) -> int:
    """Wait for the gate, write to the sink, and say who did."""
    place, token = Path(folder), ctx.fencing_token
    (place / f"begun-{os.getpid()}").write_text(f"{token.attempt} {token.epoch}")
    while not (place / "gate").exists():
        time.sleep(0.02)
    accept(place, (token.attempt, token.epoch), os.getpid())
    return os.getpid()


@pipeline(owner="tests@example.org", deadline="5m")
def delivery(folder: str) -> int:
    """One step."""
    return deliver(folder)
