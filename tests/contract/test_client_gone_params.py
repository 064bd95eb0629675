"""A param that a pipeline had and has no more: who still gives it, by name or by a run started again, is understood."""

from pathlib import Path

import pytest

from farandole import Pipeline, RunRefused, SyncClient, agent, pipeline
from farandole.client.applying import apply, plan
from farandole.client.planning import Deployment
from farandole.testing.inprocess import InProcess
from farandole.transport.memory import MemoryTransport


@agent
def double(n: int) -> int:
    """Twice."""
    return 2 * n


@pipeline(owner="tests@example.org", name="shrinking")
def before(n: int, lang: str = "en") -> int:
    """With a language."""
    return double(n)


@pipeline(owner="tests@example.org", name="shrinking")
def after(n: int) -> int:
    """Without."""
    return double(n)


def test_param_that_is_gone_is_ignored_by_name_and_of_a_run_that_is_started_again(tmp_path: Path, unique: str) -> None:
    """Services may be replaced after the pipeline, it said; each was refused from its next restart on, by name."""
    transport = MemoryTransport()

    def applied(cluster: InProcess, it: Pipeline[..., int]) -> None:
        deployment = Deployment("tests", tuple(cluster.agents), (), (it.definition,))
        apply(transport, plan(transport, cluster.topics, deployment))

    with InProcess(transport, [before], namespace=unique, folder=tmp_path) as cluster:
        applied(cluster, before)
        with SyncClient(transport, unique) as old:
            first = old.start("shrinking", params={"n": 4, "lang": "fr"})
            first.result("20s")
        applied(cluster, after)

        with SyncClient(transport, unique) as new:
            named = new.start("shrinking", params={"n": 5, "lang": "fr"}, run_id="order-5")
            told = new.start("shrinking", params='{"n": 6, "lang": "fr"}')
            same = new.start("shrinking", params={"n": 5}, run_id="order-5")
            again = new.rerun(first.id)

            assert [run.result("20s") for run in (named, told, same, again)] == [10, 12, 10, 8]
            with pytest.raises(RunRefused, match="found wait"):
                new.start("shrinking", params={"n": 7, "wait": "fr"})
