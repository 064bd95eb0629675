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


@agent
def add(n: int, more: int) -> int:
    """The sum."""
    return n + more


@pipeline(owner="tests@example.org", name="shrinking")
def before(n: int, lang: str = "en") -> int:
    """With a language."""
    return double(n)


@pipeline(owner="tests@example.org", name="shrinking")
def after(n: int) -> int:
    """Without."""
    return double(n)


@pipeline(owner="tests@example.org", name="moving")
def first(n: int, extra: int = 1, lang: str = "en") -> int:
    """Before."""
    return add(n, extra)


@pipeline(owner="tests@example.org", name="moving")
def second(n: int, extra: int = 2, discount: int = 0) -> int:
    """One param is gone, one is new, and one has another default."""
    return add(n, discount)


def applied(cluster: InProcess, it: Pipeline[..., int]) -> None:
    """New runs are of this one."""
    deployment = Deployment("tests", tuple(cluster.agents), (), (it.definition,))
    apply(cluster.transport, plan(cluster.transport, cluster.topics, deployment))


@pytest.mark.parametrize("direct", [False, True], ids=["by command", "directly"])
def test_param_that_is_new_counts_for_a_client_that_knows_the_version_before(
    tmp_path: Path, unique: str, direct: bool
) -> None:
    """A client that had read the definitions a moment before took the new version for an older one.

    It framed its params by that, and dropped the new one in making them fit the version that it knew.
    """
    transport = MemoryTransport()

    with (
        InProcess(transport, [first, second], namespace=unique, folder=tmp_path) as cluster,
        SyncClient(transport, unique, direct=direct) as client,
    ):
        applied(cluster, first)
        assert client.start("moving", params={"n": 4}).result("20s") == 5
        applied(cluster, second)

        assert client.start("moving", params={"n": 4, "discount": 100}).result("20s") == 104


def test_same_start_by_name_is_the_same_run_when_a_param_is_gone_and_a_default_another(
    tmp_path: Path, unique: str
) -> None:
    """The very same call was a conflict: what it had given was lost before the coordinator compared."""
    transport = MemoryTransport()
    given = {"n": 4, "lang": "fr"}

    with InProcess(transport, [first, second], namespace=unique, folder=tmp_path) as cluster:
        applied(cluster, first)
        with SyncClient(transport, unique) as client:
            assert client.start("moving", params=given, run_id="order-4").result("20s") == 5
        applied(cluster, second)

        with SyncClient(transport, unique) as client:
            assert client.start("moving", params=given, run_id="order-4").result("20s") == 5
            assert client.start("moving", params=given).result("20s") == 4


def test_param_that_is_gone_is_ignored_by_name_and_of_a_run_that_is_started_again(tmp_path: Path, unique: str) -> None:
    """Services may be replaced after the pipeline, it said; each was refused from its next restart on, by name."""
    transport = MemoryTransport()

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
