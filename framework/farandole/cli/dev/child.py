"""The process that `dev` starts for one unit: load, apply, say so, wait for `go`, run until standard input ends.

Its standard input is the parent's hand: when it closes, or the parent dies, the agents drain and
the process ends. It logs in JSON, and says of itself that it is `applied`, then `ready`; and of an
attempt that it `begins`, then that it is `over`.
"""

import json
import logging
import sys
import threading
from datetime import timedelta
from pathlib import Path

from farandole.cli.connect import artifacts_of, settings_of, transport_of
from farandole.cli.deploy import BROKERS_WAIT, make
from farandole.cli.dev.noting import Noting
from farandole.cli.dev.stages import APPLIED, READY, say
from farandole.cli.group import exit_code, report
from farandole.cli.heaps import bound_heaps
from farandole.cli.logs import setup_logging
from farandole.cli.processes import agent_loop, agent_settings
from farandole.cli.settings import Settings
from farandole.cli.units import Named, load
from farandole.client.applying import apply
from farandole.client.insisting import insist
from farandole.definition.model import Definition
from farandole.errors import FarandoleError, NotReady
from farandole.runtime.driver import Stop, drive, stopping_on_signals
from farandole.transport.port import Transport

SLOT = "dev"
"""The same for every start: who is started anew ends at once what its predecessor left open (R7)."""

READY_LOOK_S = 0.02
READY_QUIET_STEPS = 3
"""Steps without a partition that is still being taken over, after which the agents count as ready."""

log = logging.getLogger("farandole.dev")


def main(path: str, config: str, bootstrap: str, namespace: str, log_level: str) -> int:
    """Run one unit; the exit code of the process. Empty words were not given."""
    setup_logging(log_level, "json")
    if log_level == "info":
        logging.getLogger("farandole.group").setLevel(logging.WARNING)  # `ready` says it in one line
    bound_heaps()
    stop = Stop()
    with stopping_on_signals(stop):
        settings = settings_of(Path(config) if config else None, bootstrap or None, namespace or None)
        transport, named = transport_of(settings), load(Path(path), None, "rename the folder")
        insist(lambda: _apply(transport, settings, named), BROKERS_WAIT, _waiting)
        say(APPLIED, {})
        if not sys.stdin.readline():
            return 0
        threading.Thread(target=_until_end_of_input, args=(stop,), daemon=True).start()
        chosen = agent_settings(settings, named, SLOT)
        loop = agent_loop(transport, artifacts_of(settings), named, chosen, Noting)
        quiet = 0
        while quiet < READY_QUIET_STEPS and not stop.is_set:
            loop.step(READY_LOOK_S)
            quiet = quiet + 1 if loop.ownership.partitions and loop.ownership.is_settled else 0
        say(READY, {"pipelines": {each.name: params_of(each) for each in named.definitions}})
        return drive(loop, chosen, stop)


def _apply(transport: Transport, settings: Settings, named: Named) -> None:
    plan = make(transport, settings, named)
    plan.check()
    for fault in plan.mend:  # nobody was asked, and a shorter retention deletes history
        log.warning("sets %s of %s to %s (was %s)", fault.what, fault.topic, fault.expected, fault.found)
    apply(transport, plan)


def _waiting(refused: NotReady, left: timedelta) -> None:
    log.warning("not yet: %s; trying for %.0f s more", refused, left.total_seconds())


def params_of(definition: Definition) -> str:
    """Params as one would begin to type them: every name, no values."""
    names = [field["name"] for field in json.loads(definition.params_schema)["fields"]]
    return "{" + ", ".join(f"{json.dumps(name)}: …" for name in names) + "}"


def _until_end_of_input(stop: Stop) -> None:
    while sys.stdin.readline():
        pass
    stop.set()


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except FarandoleError as error:
        report(error)
        sys.exit(exit_code(error))
