"""From settings to a running coordinator: what `coordinator run` does, and `dev` in a thread.

Beside `processes` and not in it: a process of agents starts without importing a coordinator.
"""

import logging
import time
from contextlib import closing

from farandole.artifacts import ArtifactStore
from farandole.cli.connect import artifacts_of
from farandole.cli.heaps import bound_heaps
from farandole.cli.observing import Observed, observing, wall
from farandole.cli.processes import random_slot, require_registered
from farandole.cli.settings import Settings
from farandole.clock import SystemClock
from farandole.coordinator import CoordinatorLoop, CoordinatorSettings
from farandole.coordinator.loop import Environment
from farandole.coordinator.settings import UNIT
from farandole.runtime.driver import STEP_WAIT_S, Stop, stopping_on_signals, tune_interpreter
from farandole.transport.drift import require_topics
from farandole.transport.port import Transport

log = logging.getLogger("farandole.group")


def coordinator_process(transport: Transport, settings: Settings, slot: str | None) -> int:
    """Run a coordinator until a signal; the exit code of the process.

    Raises:
        ConfigError: topics are missing or not as declared.
    """
    bound_heaps()
    chosen = coordinator_settings(settings, slot)
    loop, stop = coordinator_loop(transport, artifacts_of(settings), chosen), Stop()
    tune_interpreter()
    view, since = loop.view, settings.metrics.stale_after
    observed = Observed("coordinator", UNIT, loop.client_id, view, lambda: view.samples(wall(), since))
    with closing(loop), observing(observed, transport, settings) as stepped, stopping_on_signals(stop):
        log.info("%s has started, after %.2f s of processor time", loop.client_id, time.process_time())
        try:
            while not stop.is_set:
                loop.step(STEP_WAIT_S)
                stepped()
        finally:
            loop.close()  # first of all: whoever looks at the log may take a while to end, and homes would wait for it
    return 0


def coordinator_settings(settings: Settings, slot: str | None) -> CoordinatorSettings:
    """How one coordinator runs."""
    return CoordinatorSettings.within(settings.coordinator, settings.namespace, slot or random_slot())


def coordinator_loop(transport: Transport, artifacts: ArtifactStore, chosen: CoordinatorSettings) -> CoordinatorLoop:
    """The loop of one coordinator, its topics checked."""
    require_registered(transport)
    admin = transport.admin()
    try:
        partitions = require_topics(admin, chosen.topics)
    finally:
        admin.close()
    return CoordinatorLoop(Environment(transport, SystemClock(), artifacts), chosen, partitions)
