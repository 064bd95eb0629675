"""F9: disks that are full, and a store that fails."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from farandole.testing.chaos.disk import Disk
from farandole.testing.chaos.injection import Hit
from farandole.testing.chaos.stage import Plan, Stage, pause

BROKER_MIB, ARTIFACTS_MIB = 512, 256
"""A trial's log takes some dozen MiB, and its index files are sparse; each heavy run stores 800 kB."""

DISKS = Plan(disks_mib=(("broker", BROKER_MIB), ("artifacts", ARTIFACTS_MIB)))

HEAVY = "heavy"
"""The pipeline whose payloads go to the artifact store."""

HEAVY_RUNS = 20
FULL_S = 10.0
"""How long a disk stays full."""


def full_disks(stage: Stage) -> Iterator[Hit]:
    """F9: the broker's disk is full, then the artifact store's; then the store cannot be used at all."""
    is_open = any(stage.is_open(actor) for actor in stage.actors.values())
    stage.disks["broker"].fill()
    pause(FULL_S)
    stage.disks["broker"].free()
    stage.restart_broker()  # a broker whose only disk fails ends by itself
    yield Hit(time.monotonic(), is_open)
    store = stage.disks["artifacts"]
    with _heavy_load_goes_past(stage):
        store.fill()
        pause(FULL_S)
    store.free()
    yield Hit(time.monotonic())
    folder = stage.artifacts.resolve()
    with _heavy_load_goes_past(stage):
        _lead(stage.artifacts, _no_folder(store))
        pause(FULL_S)
    _lead(stage.artifacts, folder)
    yield Hit(time.monotonic())


def _no_folder(disk: Disk) -> Path:
    path = disk.path / "no-folder"
    path.touch()
    return path


def _lead(link: Path, target: Path) -> None:
    """Let a link lead somewhere else, in one step: whoever uses it meets the one or the other."""
    new = link.with_name("new")
    new.symlink_to(target)
    new.replace(link)


@contextlib.contextmanager
def _heavy_load_goes_past(stage: Stage) -> Iterator[None]:
    """Runs that need the store are started before and during the body, and wait; the others go on meanwhile."""
    load = stage.load
    assert load is not None
    load.start(HEAVY_RUNS, HEAVY)
    before = len(stage.settled)
    begun = load.start(HEAVY_RUNS, HEAVY)
    yield
    begun += load.start(HEAVY_RUNS, HEAVY)
    light = [run for run in list(stage.settled)[before:] if not run.startswith(HEAVY)]
    assert light, f"expected runs that need no store to end meanwhile, but none did; {len(begun)} that do were started"
