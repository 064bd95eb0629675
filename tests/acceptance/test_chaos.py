"""Three faults of `make chaos` that every run of the tests injects: a torn transaction, a kill, a lost reply."""

from pathlib import Path

import pytest

from farandole.testing.broker import BrokerSettings
from farandole.testing.chaos import Report, table, trial
from farandole.testing.chaos.dying import ENDED, OFFSETS
from farandole.testing.chaos.faults import kill, lose_reply
from farandole.testing.chaos.injection import Fault
from farandole.testing.chaos.late_end import late_end
from farandole.testing.chaos.stage import Plan
from farandole.testing.proxy import END_TXN

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

LONG_S = 1_000
"""More than all limits within a trial together, each of which says what it waited for."""

SMALL = Plan(agents=2, coordinators=1, per_second=10)


def require_good(report: Report, injected: int) -> None:
    """All was injected, and nothing lost, stuck, doubled or otherwise wrong."""
    assert report.is_good, table([report])
    assert report.injected == injected
    assert len(report.recoveries) == injected
    assert report.runs > 0


def test_late_end_inside_the_next_transaction_tears_it_unless_the_producer_was_replaced(kafka: str) -> None:
    """An EndTxn that the client had repeated ended the next transaction: records without their positions."""
    without, guarded = late_end(kafka, is_guarded=False), late_end(kafka)

    assert without.held == guarded.held == 1
    assert without.verdict == guarded.verdict == "committed"
    assert without.is_torn
    assert (without.effects, without.position) == (("1", "2", "3"), 2)
    assert (guarded.effects, guarded.position) == (("1", "2"), 2)


@pytest.mark.timeout(LONG_S)
def test_agent_killed_with_positions_sent_and_with_its_end_unheard_doubles_and_loses_nothing(
    own_settings: BrokerSettings, tmp_path: Path
) -> None:
    fault = Fault(
        "kill -9 of an agent",
        lambda stage: (
            hit for place in (OFFSETS, ENDED) for hit in kill(stage, stage.actors["a1"], place, waits=False)
        ),
        SMALL,
    )

    report = trial("F1", fault=fault, folder=tmp_path)

    require_good(report, 2)
    assert (report.hit or 0) >= 1


@pytest.mark.timeout(LONG_S)
def test_agent_and_coordinator_that_do_not_hear_how_a_transaction_ended_double_and_lose_nothing(
    own_settings: BrokerSettings, tmp_path: Path
) -> None:
    fault = Fault(
        "lost replies of EndTxn",
        lambda stage: (hit for slot in ("a1", "c1") for hit in lose_reply(stage, stage.actors[slot], END_TXN)),
        Plan(agents=1, coordinators=1, per_second=10, proxied=True),
    )

    report = trial("F6", fault=fault, folder=tmp_path)

    require_good(report, 2)
    assert (report.lost, report.stuck, report.doubled) == (0, 0, 0)
