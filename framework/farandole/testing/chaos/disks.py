"""F9: disks that are full, and a store that fails."""

import socket
import time
from collections.abc import Callable, Iterator
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
    stage.disks["broker"].fill()
    # A broker whose only disk fails ends by itself.
    stage.until(lambda: not _listens(stage.broker.bootstrap), "the broker to end on its full disk")
    pause(FULL_S)
    stage.disks["broker"].free()
    stage.restart_broker()
    yield Hit(time.monotonic())
    store = stage.disks["artifacts"]
    heavy = _heavy_load_waits(stage, store.fill)
    store.free()
    yield Hit(time.monotonic(), runs=heavy)
    folder = stage.artifacts.resolve()
    heavy = _heavy_load_waits(stage, lambda: _lead(stage.artifacts, _no_folder(store)))
    _lead(stage.artifacts, folder)
    yield Hit(time.monotonic(), runs=heavy)


def _listens(bootstrap: str) -> bool:
    """Whether anybody takes connections there."""
    host, _, port = bootstrap.partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def _no_folder(disk: Disk) -> Path:
    path = disk.path / "no-folder"
    path.touch()
    return path


def _lead(link: Path, target: Path) -> None:
    """Let a link lead somewhere else, in one step: whoever uses it meets the one or the other."""
    new = link.with_name("new")
    new.symlink_to(target)
    new.replace(link)


def _heavy_load_waits(stage: Stage, injure: Callable[[], None]) -> tuple[str, ...]:
    """Injure the store under runs that need it, and start more: those wait, while others go on; those that waited."""
    load = stage.load
    assert load is not None
    load.start(HEAVY_RUNS, HEAVY)
    injure()
    before = len(load.settled)
    begun = load.start(HEAVY_RUNS, HEAVY)
    stage.until(lambda: load.acknowledged.keys() >= set(begun), "heavy runs to be acknowledged")
    pause(FULL_S)
    after = list(load.settled)
    assert [run for run in after[before:] if not run.startswith(HEAVY)], "expected runs that need no store to end"
    gone_on = set(begun).intersection(after)
    assert not gone_on, f"expected runs that need the store to wait for it, but {sorted(gone_on)} ended"
    return tuple(begun)
