"""A process stopped inside a handler past its session, then continued: too late for the log and for the sink."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farandole.events.facts import StepSucceeded
from farandole.testing.history import check_history

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cluster, Process


@pytest.mark.slow
def test_process_stopped_past_its_session_has_a_lower_token_and_no_accepted_result(
    cluster: "Cluster", units: Path, tmp_path: Path
) -> None:
    cluster.apply(units / "sink", 1)
    cluster.coordinator()
    first = cluster.agents("first", units / "sink")
    cluster.start("delivery", {"d-1": {"folder": str(tmp_path)}})
    cluster.until(lambda: token_of(first, tmp_path), "the first owner's handler to begin")

    first.freeze()
    second = cluster.agents("second", units / "sink")
    cluster.until(lambda: token_of(second, tmp_path), "the second owner's handler to begin")
    (tmp_path / "gate").touch()
    outcomes = cluster.outcomes(1, 30)
    first.thaw()
    cluster.until(lambda: len((tmp_path / "sink").read_text().splitlines()) == 2, "the first owner to try the sink")
    cluster.check()
    cluster.await_quiet()

    assert outcomes == {"d-1": ["succeeded"]}
    assert token_of(second, tmp_path) > token_of(first, tmp_path)
    assert [line.split()[:2] for line in (tmp_path / "sink").read_text().splitlines()] == [
        ["accepted", str(second.pid)],
        ["refused", str(first.pid)],
    ]
    cluster.check()
    history = cluster.history()
    results = [each for each in history.events if isinstance(each.fact, StepSucceeded)]
    assert [each.source for each in results] == [second.source]
    violations = check_history(history)
    assert not violations, "\n".join(map(str, violations))


def token_of(process: "Process", folder: Path) -> tuple[int, ...]:
    """The fencing token that the process's handler was given; empty if it did not begin."""
    begun = folder / f"begun-{process.pid}"
    return tuple(map(int, begun.read_text().split())) if begun.exists() else ()
