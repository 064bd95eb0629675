"""One fault from beginning to end: a stage, the injections, and the report."""

import shutil
import tempfile
import time
import traceback
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from farandole.testing.broker import COORDINATION_LOG, QUICK_RESTART, Broker, BrokerSettings
from farandole.testing.broker.maven import maven_tier
from farandole.testing.broker.quorum import three_nodes
from farandole.testing.chaos.disk import Disk
from farandole.testing.chaos.faults import FAULTS
from farandole.testing.chaos.injection import Fault
from farandole.testing.chaos.report import Report
from farandole.testing.chaos.stage import Plan, Stage


def own_broker(properties: Mapping[str, str] = {}, folder: Path | None = None, log: Path | None = None) -> Broker:
    """A broker that may be killed; its data stand in `folder`, a new one by default, and what it logs in `log`.

    Raises:
        TierUnavailable: there is none of our own.
    """
    given = {**QUICK_RESTART, **properties}
    return maven_tier(replace(_settings(log), properties=given, folder=folder))


def cluster_for(plan: Plan, folder: Path | None = None, log: Path | None = None) -> Broker:
    """The broker, or the three, that a plan asks for; errors as `own_broker`."""
    if not plan.is_replicated:
        return own_broker(folder=folder, log=log)
    settings = replace(_settings(log), heap_mb=NODE_HEAP_MB, start_timeout=NODE_START_MAX)
    return three_nodes(replace(settings, properties=QUICK_RESTART))


def _settings(log: Path | None) -> BrokerSettings:
    levels = COORDINATION_LOG if log is not None else {}
    return replace(BrokerSettings.from_environment(), log=log, log_levels=levels)


NODE_HEAP_MB = 320
"""Of each of three: a broker of a few hundred partitions lives in 230."""

NODE_START_MAX = timedelta(seconds=90)
"""Three start at once where one has the machine to itself."""


def trial(
    name: str, rounds: int = 1, seed: int = 0, *, fault: Fault | None = None, folder: Path | None = None
) -> Report:
    """Inject the fault of that name (or another one, under it) so often; whatever goes wrong is in the report.

    Logs and ledger are kept in `folder`; without one, in a new one that goes if all is well.
    """
    fault, began = fault or FAULTS[name], time.monotonic()
    report = Report(name, fault.title, note=fault.note)
    kept = folder or Path(tempfile.mkdtemp(prefix=f"farandole-chaos-{name}-"))
    try:
        _play(fault, replace(fault.plan, seed=seed), rounds, kept, report)
    except Exception as error:
        report.trouble = f"{error!r}; logs in {kept}\n{traceback.format_exc()}"
        report.lost, report.doubled = report.lost or None, report.doubled or None
    report.seconds = time.monotonic() - began
    if folder is None and report.is_good:
        shutil.rmtree(kept, ignore_errors=True)
    return report


def _play(fault: Fault, plan: Plan, rounds: int, folder: Path, report: Report) -> None:
    """Disks, broker, stage, and the fault itself; all of it ends with this."""
    with ExitStack() as stack:
        folder.mkdir(parents=True, exist_ok=True)
        disks = {name: stack.enter_context(Disk(folder / f"{name}-disk", mib)) for name, mib in plan.disks_mib}
        data = disks["broker"].path / "log" if "broker" in disks else None
        broker = stack.enter_context(cluster_for(plan, data, folder / "broker.log"))
        if fault.alone is not None:
            fault.alone(broker.bootstrap, report)
            return
        stage = stack.enter_context(Stage(broker, f"x{uuid.uuid4().hex[:8]}", folder, plan, disks))
        try:
            stage.up()
            for _ in range(rounds):
                _inject(stage, fault, report)
            stage.finish(report)
        except Exception:
            report.stuck = report.stuck or len(stage.load.waiting() if stage.load else ())
            raise


def _inject(stage: Stage, fault: Fault, report: Report) -> None:
    assert fault.inject is not None
    for hit in fault.inject(stage):
        report.add(hit.is_open)
        report.recoveries.append(stage.recovery(hit.since, hit.runs))
