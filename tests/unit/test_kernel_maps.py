"""Mapped steps: a list in order, an empty one, items of their own, maps over maps, a thousand items."""

import time

import pytest

from farandole.errors import RecordError
from farandole.events import facts
from farandole.ids import NO_ITEM
from farandole.kernel.state import Status
from farandole.testing.sketch import define, framed, node, value
from farandole.testing.stage import Stage

LIST = define(node("a"), node("m", over="a.items"), node("z", "m"), output="z")
OVER_MAP = define(node("m", over="params.items"), node("k", over="m"), node("z", "k"))


def test_map_triggers_each_item_with_its_element() -> None:
    stage = Stage(LIST)

    stage.succeed("a", items=[7, 8, 9])

    assert stage.waiting == {("m", 0, 1), ("m", 1, 1), ("m", 2, 1)}
    assert [stage.given("m", item) for item in range(3)] == [{"p0": 7}, {"p0": 8}, {"p0": 9}]


def test_map_results_are_a_list_in_the_order_of_the_items_whatever_the_order_of_results() -> None:
    stage = Stage(LIST)
    stage.succeed("a", items=[7, 8, 9])

    for item in (2, 0, 1):
        stage.succeed("m", item, n=item * 10)

    assert stage.given("z") == {"p0": [value(0), value(10), value(20)]}


def test_map_over_an_empty_list_succeeds_with_an_empty_list() -> None:
    stage = Stage(LIST)

    stage.succeed("a", items=[])

    assert stage.events(facts.StepCompleted) == [facts.StepCompleted("r-1", "m", 0)]
    assert stage.given("z") == {"p0": []}


def test_map_item_with_a_false_condition_is_left_out_of_the_list() -> None:
    stage = Stage(define(node("m", over="params.items", when="item % 2 == 0"), node("z", "m")), items=[1, 2, 3, 4])

    assert stage.waiting == {("m", 1, 1), ("m", 3, 1)}
    stage.succeed("m", 1, n=1)
    stage.succeed("m", 3, n=3)

    assert stage.given("z") == {"p0": [value(1), value(3)]}
    assert [(it.item, it.reason) for it in stage.events(facts.StepSkipped)] == [(0, "condition"), (2, "condition")]


def test_map_all_of_whose_items_are_skipped_is_complete_at_once() -> None:
    stage = Stage(define(node("m", over="params.items", when="item > 9"), node("z", "m")), items=[1, 2])

    assert stage.given("z") == {"p0": []}


def test_map_condition_without_the_item_is_asked_once_for_the_step() -> None:
    stage = Stage(define(node("m", over="params.items", when="params.n > 4")), n=1, items=[1, 2])

    assert stage.events(facts.StepSkipped) == [facts.StepSkipped("r-1", "m", "condition")]
    assert stage.events(facts.StepExpanded) == []


def test_map_element_and_outputs_of_others_meet_in_one_input() -> None:
    stage = Stage(define(node("a"), node("m", "item", "a", "params.n", over="params.items")), n=3, items=[7])

    stage.succeed("a", n=1)

    assert stage.given("m", 0) == {"p0": 7, "p1": value(1), "p2": 3}


def test_map_that_skips_a_dead_item_goes_on_with_the_others() -> None:
    definition = define(node("m", over="params.items", on_dead_letter="skip"), node("z", "m"))
    stage = Stage(definition, items=[1, 2])

    stage.fail("m", 0, retryable=False)
    stage.succeed("m", 1, n=1)

    assert stage.given("z") == {"p0": [value(1)]}
    stage.succeed("z")
    assert stage.outcome == "partial"


def test_map_held_by_one_dead_item_goes_on_after_its_replay() -> None:
    stage = Stage(define(node("m", over="params.items"), node("z", "m")), items=[1, 2])

    stage.fail("m", 0, retryable=False)
    stage.succeed("m", 1, n=1)
    assert (stage.run.is_held, stage.steps_waiting) == (True, set())
    stage.replay("m", 0)
    stage.succeed("m", 0, n=0)

    assert stage.given("z") == {"p0": [value(0), value(1)]}


def test_map_of_a_thousand_items_is_expanded_and_joined() -> None:
    stage = Stage(define(node("m", over="params.items"), node("z", "m")), items=range(1000))
    began = time.process_time()

    for item in reversed(range(1000)):
        stage.succeed("m", item, n=item)

    assert stage.given("z") == {"p0": [value(item) for item in range(1000)]}
    assert time.process_time() - began < 5, "the cost of an item does not grow with their number"


def test_map_of_more_than_a_thousand_items_cannot_be_expanded() -> None:
    with pytest.raises(RecordError, match="at most 1000 items"):
        Stage(define(node("m", over="params.items")), items=range(1001))


def test_map_item_is_written_into_its_own_chunk_alone() -> None:
    stage = Stage(define(node("m", over="params.items")), items=range(1000))
    before = dict(stage.table)

    stage.succeed("m", 500)

    changed = {key for key, content in stage.table.items() if before.get(key) != content}
    assert changed == {"r-1", "r-1#c/7"}


# --- maps over maps -----------------------------------------------------------------------------


def test_map_over_a_map_begins_an_item_when_its_parent_item_ends() -> None:
    """The child was expanded only when its parent was complete: a barrier that DESIGN section 2 excludes."""
    stage = Stage(OVER_MAP, items=[5, 6])

    stage.succeed("m", 1, n=60)

    assert stage.waiting == {("m", 0, 1), ("k", 1, 1)}
    assert stage.given("k", 1) == value(60)


def test_map_over_a_map_overtakes_its_parent_without_a_barrier() -> None:
    stage = Stage(OVER_MAP, items=[5, 6])

    stage.succeed("m", 1, n=60)
    stage.succeed("k", 1, n=600)
    stage.succeed("m", 0, n=50)
    stage.succeed("k", 0, n=500)

    assert stage.given("z") == {"p0": [value(500), value(600)]}


def test_map_over_a_map_skips_the_items_that_its_parent_skipped() -> None:
    stage = Stage(
        define(node("m", over="params.items", when="item != 5"), node("k", over="m"), node("z", "k")), items=[5, 6]
    )

    stage.succeed("m", 1, n=60)
    stage.succeed("k", 1, n=600)

    assert [stage.status("k", item) for item in (0, 1)] == [Status.SKIPPED, Status.SUCCEEDED]
    assert stage.given("z") == {"p0": [value(600)]}


def test_map_over_a_map_of_nothing_is_complete_with_it() -> None:
    stage = Stage(OVER_MAP, items=[])

    assert stage.given("z") == {"p0": []}


def test_map_over_a_skipped_map_is_skipped() -> None:
    stage = Stage(
        define(node("m", over="params.items", when="params.n > 4"), node("k", over="m"), node("z", "k")), items=[1]
    )

    assert [stage.status(step) for step in "mkz"] == [Status.SKIPPED] * 3


def test_map_over_a_map_with_another_parent_waits_for_that_one_only() -> None:
    stage = Stage(define(node("m", over="params.items"), node("x"), node("k", "item", "x", over="m")), items=[5, 6])

    stage.succeed("m", 0)
    assert stage.status("k") is Status.PENDING
    stage.succeed("x", n=1)

    assert stage.waiting == {("m", 1, 1), ("k", 0, 1)}


def test_map_over_a_map_that_also_reads_the_whole_list_waits_for_all_of_it() -> None:
    stage = Stage(define(node("m", over="params.items"), node("k", "item", "m", over="m")), items=[5, 6])

    stage.succeed("m", 0, n=50)
    assert stage.status("k") is Status.PENDING
    stage.succeed("m", 1, n=60)

    assert stage.given("k", 1) == {"p0": value(60), "p1": [value(50), value(60)]}


def test_map_over_a_map_is_fired_by_the_coordinator_for_each_item_once() -> None:
    stage = Stage(OVER_MAP, items=[5, 6])

    for step in "mk":
        for item in (0, 1):
            stage.succeed(step, item)
    stage.succeed("z")

    fired = [(task.step, task.item) for task in stage.kept.triggers]
    assert sorted(fired) == [("k", 0), ("k", 1), ("m", 0), ("m", 1), ("z", NO_ITEM)]
    assert stage.outcome == "succeeded"


def test_map_chain_of_maps_goes_item_by_item_to_its_end() -> None:
    names = [f"m{depth}" for depth in range(6)]
    nodes = [node(name, over=names[depth - 1] if depth else "params.items") for depth, name in enumerate(names)]
    stage = Stage(define(*nodes), items=[1, 2])

    for name in names:
        stage.succeed(name, 0)

    assert stage.waiting == {("m0", 1, 1)}


def test_map_item_result_is_kept_until_the_join_reads_it() -> None:
    stage = Stage(LIST)
    stage.succeed("a", items=[1, 2])

    stage.succeed("m", 0, n=4)

    assert stage.unit("m", 0).output == framed(4)
