"""One fault from beginning to end: a stage, the injections, and the report."""

import tempfile
import time
import traceback
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from farandole.testing.broker import QUICK_RESTART, Broker, BrokerSettings
from farandole.testing.broker.maven import maven_tier
from farandole.testing.chaos.faults import FAULTS, Fault
from farandole.testing.chaos.report import Report
from farandole.testing.chaos.stage import Stage


def own_broker(properties: Mapping[str, str] = {}) -> Broker:
    """A broker that may be killed.

    Raises:
        TierUnavailable: there is none of our own.
    """
    return maven_tier(replace(BrokerSettings.from_environment(), properties={**QUICK_RESTART, **properties}))


def trial(
    name: str, rounds: int = 1, seed: int = 0, *, fault: Fault | None = None, folder: Path | None = None
) -> Report:
    """Inject the fault of that name (or another one, under it) so often; whatever goes wrong is in the report.

    Logs and ledger are kept in `folder` (a new one by default) unless all is well.
    """
    fault, began = fault or FAULTS[name], time.monotonic()
    report = Report(name, fault.title, note=fault.note)
    with ExitStack() as stack:
        broker = stack.enter_context(own_broker())
        if fault.alone is not None:
            fault.alone(broker.bootstrap, report)
            report.seconds = time.monotonic() - began
            return report
        folder = folder or Path(tempfile.mkdtemp(prefix=f"farandole-chaos-{name}-"))
        plan = replace(fault.plan, seed=seed)
        stage = stack.enter_context(Stage(broker, f"x{uuid.uuid4().hex[:8]}", folder, plan))
        try:
            stage.up()
            for _ in range(rounds):
                _inject(stage, fault, report)
            stage.finish(report)
        except Exception as error:
            report.trouble = f"{error!r}; logs in {folder}\n{traceback.format_exc()}"
            report.stuck = report.stuck or len(stage.load.waiting() if stage.load else ())
    report.seconds = time.monotonic() - began
    return report


def _inject(stage: Stage, fault: Fault, report: Report) -> None:
    assert fault.inject is not None
    for hit in fault.inject(stage):
        report.injected += 1
        report.hit += hit.is_open
        report.recoveries.append(stage.recovery(hit.since))
