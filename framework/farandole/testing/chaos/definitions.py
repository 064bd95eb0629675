"""F17: the definition changes while a thousand runs are under way, again and again.

Each version is a copy of the canary's folder with another wiring; a run goes on under the one that it began with
(I20), whichever process works on it and whatever was applied since. Mixed versions of the product are `make mixed`.
"""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from farandole.testing.chaos.injection import Hit
from farandole.testing.chaos.stage import CANARY, Stage

BURST = 1_000
"""Runs under way when a definition changes."""

BODY = "return last(meet(left(start), right(start)))"
WIRINGS = (
    "return last(meet(right(start), left(start)))",
    "return meet(left(start), right(start))",
    "return last(left(right(start)))",
    BODY,
)
"""The other way round; a step less; no fork and no join; as it was."""


def change_definitions(stage: Stage) -> Iterator[Hit]:
    """F17: each wiring is applied over a thousand runs of the one before; every other time all processes are new."""
    load = stage.load
    assert load is not None
    for n, wiring in enumerate(WIRINGS):
        since = time.monotonic()
        burst = load.start(BURST)
        stage.command("apply", str(written(stage.folder, n, wiring)), "--yes")
        if n % 2:
            for actor in list(stage.actors.values()):
                stage.stop([actor])
                actor.process.restart()
                stage.await_members([actor])
        yield Hit(since, runs=tuple(burst))


def written(parent: Path, number: int, wiring: str) -> Path:
    """A copy of the canary's folder with that wiring."""
    folder = parent / f"version-{number}" / CANARY.name
    shutil.copytree(CANARY, folder)
    file = folder / "canary.py"
    text = file.read_text()
    assert text.count(BODY) == 1, f"expected the wiring {BODY!r} once in {CANARY}"
    file.write_text(text.replace(BODY, wiring))
    return folder
