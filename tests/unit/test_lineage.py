"""Lineage: entries from raw records, the graph of causes, and the tree of a run, against goldens.

`FARANDOLE_GOLDEN=write` rewrites the goldens under `tests/golden/lineage`; look at the difference.
"""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from farandole.events import facts
from farandole.events.commands import StartRun
from farandole.events.envelope import Envelope
from farandole.lineage.entries import Entry, from_record
from farandole.lineage.graph import Lineage
from farandole.lineage.lives import life_of
from farandole.lineage.render import duration_text, ranges, render, to_data
from farandole.lineage.tree import DEPTH_MAX, Tree, tree_of
from farandole.testing.history.builder import DAY, HandMade
from farandole.testing.sketch import define, framed_params, node

GOLDEN = Path(__file__).parents[1] / "golden" / "lineage"
SECOND = timedelta(seconds=1)


def nightly() -> HandMade:
    """A map of 31 items of which one is dead-lettered and replayed, beside another map; a join; a report."""
    made = HandMade(
        define(
            node("extract"),
            node("clean", over="extract.items"),
            node("weather", over="extract.items"),
            node("summarise", "clean", "weather"),
            node("archive", "summarise"),
            node("publish", "summarise", after=["archive"]),
            name="nightly",
        )
    )
    made.started("extract")
    extract = made.succeeded("extract")
    for step in ("clean", "weather"):
        made.follows(facts.StepExpanded(made.run, step, 31), extract)
        for item in range(31):
            made.scheduled(step, 1, item, cause=extract)
    letter = _broken_day(made)
    for item in (n for n in range(31) if n != 13):
        made.succeeded("clean", 1, item)
    for item in range(31):
        made.succeeded("weather", 1, item)
    made.follows(facts.StepCompleted(made.run, "weather", 31))
    made.replay_asked("clean", 3, letter, 13)
    made.scheduled("clean", 4, 13, replay=True)
    made.follows(facts.RunReleased(made.run, "replayed"))
    made.succeeded("clean", 4, 13)
    made.follows(facts.StepCompleted(made.run, "clean", 31))
    made.scheduled("summarise")
    summary = made.succeeded("summarise", fired=["archive"])
    made.published("reports.daily", summary)
    made.succeeded("archive")
    made.scheduled("publish")
    made.succeeded("publish")
    made.settled()
    return made


def _broken_day(made: HandMade) -> Entry:
    made.failed("clean", 1, 13, error="2013-01-14.csv: expected 21 fields,\n but line 40 has 3")
    made.retry("clean", 2, SECOND, 13)
    made.failed("clean", 2, 13)
    made.retry("clean", 3, 2 * SECOND, 13)
    made.failed("clean", 3, 13)
    letter = made.given_up("clean", 3, "attempts_exhausted", 13)
    made.held("clean", item=13)
    return letter


def stopped() -> HandMade:
    """A run that is cancelled while one step runs, one waits in its inbox and one for its retry."""
    made = HandMade(define(node("a"), node("b"), node("c", when="params.n > 1"), node("d", "a")))
    start = made.started("a", "b", params=framed_params(0))
    made.follows(facts.StepSkipped(made.run, "c", "condition"), start)
    made.cancel_asked("enough")
    made.stopping()
    made.succeeded("a")
    made.cancelled("b")
    made.settled("cancelled")
    return made


def going_on() -> HandMade:
    """A run that is held at a suspected trigger, with items in every state."""
    made = HandMade(define(node("a"), node("m", over="params.items"), deadline=DAY))
    start = made.started("a", params=framed_params(items=[1, 2, 3, 4, 5]), deadline=DAY)
    made.follows(facts.StepExpanded(made.run, "m", 5), start)
    for item in range(4):
        made.scheduled("m", 1, item, cause=start)
    made.follows(facts.StepSkipped(made.run, "m", "condition", 4), start)
    made.succeeded("m", 1, 0)
    made.failed("m", 1, 1)
    made.follows(facts.RetryScheduled(made.run, "m", 2, made.now + SECOND, made.now, 1))
    made.failed("m", 1, 2, kind="undecodable", retryable=False)
    made.given_up("m", 1, "undecodable", 2, by="agent")
    made.held("m", item=2)
    made.marked(facts.TriggerSuspected(made.run, "a", 1))
    made.held("a", "trigger_suspected")
    return made


def refused() -> HandMade:
    """A start that was refused."""
    made = HandMade(define(node("a")))
    made.refused()
    return made


SHAPES = [nightly, stopped, going_on, refused]


def lineage_of(made: HandMade) -> Lineage:
    """The lineage of a hand-made run."""
    return Lineage(made.run, made.history().entries + published(made), made.definition)


def published(made: HandMade) -> tuple[Entry, ...]:
    """What handlers wrote to the user's own topics."""
    return tuple(made.entries.get("reports.daily", ()))


def golden(name: str, text: str) -> str:
    """The golden text; written anew if that is wished."""
    path = GOLDEN / name
    if os.environ.get("FARANDOLE_GOLDEN") == "write":
        path.write_text(text)
    return path.read_text()


@pytest.mark.parametrize("make", SHAPES)
def test_a_tree_reads_as_its_golden(make: Callable[[], HandMade]) -> None:
    text = render(tree_of(lineage_of(make()))) + "\n"

    assert text == golden(f"{make.__name__}.txt", text)


def test_a_tree_as_data_is_its_golden() -> None:
    text = json.dumps(to_data(tree_of(lineage_of(stopped()))), indent=1) + "\n"

    assert text == golden("stopped.json", text)


def test_a_long_chain_begins_at_the_root_again_where_it_is_too_deep() -> None:
    """A chain of 400 steps, of the 1,000 that a pipeline may have, ended `lineage` in a RecursionError."""
    made = HandMade(define(node("s0"), *(node(f"s{n}", f"s{n - 1}") for n in range(1, 400))))
    made.started("s0")
    for n in range(399):
        made.succeeded(f"s{n}", fired=[f"s{n + 1}"])
    made.succeeded("s399")
    made.settled()

    tree = tree_of(lineage_of(made))
    text, data = render(tree), json.loads(json.dumps(to_data(tree), indent=2))

    assert [each.follows for each in tree.branches] == ["", *(f"s{n}" for n in range(DEPTH_MAX - 1, 399, DEPTH_MAX))]
    assert text.count("succeeded") == 401
    assert f"s{DEPTH_MAX}  succeeded  7 ms  by agent  goes on from s{DEPTH_MAX - 1}" in text
    assert max(map(len, text.splitlines())) < 250
    assert [each["follows"] for each in data["branches"]] == [each.follows for each in tree.branches]


def test_nothing_of_a_run_that_ended_is_under_way() -> None:
    """A run that stops completes no map: one whose items had all gone well, or would never report, was "under way"."""
    made = HandMade(define(node("m", over="params.items"), node("n", over="params.items")))
    start = made.started(params=framed_params(items=[1, 2, 3]))
    for step in ("m", "n"):
        made.follows(facts.StepExpanded(made.run, step, 3), start)
        for item in range(3):
            made.scheduled(step, 1, item, cause=start)
    for item in range(3):
        made.succeeded("m", 1, item)
    made.failed("n", 1, 0)
    made.follows(facts.RetryScheduled(made.run, "n", 2, made.now + DAY, made.now, 0))
    made.cancel_asked()
    made.stopping()

    going = render(tree_of(lineage_of(made)))
    made.settled("cancelled")
    over = render(tree_of(lineage_of(made)))

    assert "m [3 items]  succeeded" in going
    assert "items 1-2  under way" in going
    assert "m [3 items]  succeeded" in over
    assert "n [3 items]  not reported" in over
    assert "items 1-2  not reported" in over
    assert not {word for word in ("under way", "waits for its next", "no report yet") if word in over}


def test_who_fired_what_is_told_only_as_far_as_it_is_known() -> None:
    """What the coordinator had scheduled was "by agent" as soon as the fact that said so had expired."""
    made = HandMade(define(node("a"), node("b", "a"), node("c", "a")))
    made.started("a")
    made.failed("a")
    made.retry("a", 2)
    made.succeeded("a", 2, fired=["b"])
    made.succeeded("b")
    made.scheduled("c")
    made.succeeded("c")
    expired = facts.RunStarted | facts.StepScheduled | facts.RetryScheduled
    left = [each for each in made.history().entries if not isinstance(each.fact, expired)]

    with_inboxes = tree_of(Lineage(made.run, left, made.definition))
    bare = tree_of(Lineage(made.run, [each for each in left if not each.is_trigger], made.definition))

    def fired(tree: Tree) -> dict[str, list[str]]:
        found, waiting = {}, list(tree.branches)
        while waiting:
            it = waiting.pop()
            found[it.step] = [one.fired_by for work in it.works for one in work.tries]
            waiting.extend(it.children)
        return found

    assert fired(with_inboxes) == {"a": ["coordinator", "coordinator"], "b": ["agent"], "c": ["coordinator"]}
    assert fired(bare) == {"a": ["unknown", "coordinator"], "b": ["agent"], "c": ["unknown"]}
    assert bare.pipeline == made.definition.name


def test_a_tree_needs_no_definition() -> None:
    made = nightly()
    bare = tree_of(Lineage(made.run, made.history().entries))

    text = render(bare)

    assert "summarise  succeeded" in text
    assert "joins" not in text


def test_a_run_of_which_nothing_is_known_is_an_empty_tree() -> None:
    tree = tree_of(Lineage("r-9", nightly().history().entries))

    assert tree == Tree("r-9", "", "", "", "", (), None, None)
    assert render(tree) == "run r-9  no start on the log"


# --- the graph ------------------------------------------------------------------------------


def names(entries: tuple[Entry, ...]) -> list[str]:
    """What each record is."""
    return [type(each.content).__name__ if each.content is not None else each.id.rpartition("/")[2] for each in entries]


def test_up_walks_from_a_result_to_the_command_that_started_the_run() -> None:
    made = HandMade(define(node("a"), node("b", "a")))
    made.started("a")
    made.succeeded("a", fired=["b"])
    b = made.succeeded("b")

    up = lineage_of(made).up(b.id)

    assert names(up) == [
        "trigger", "StepSucceeded", "trigger", "StepScheduled", "RunStarted", "StartRun",
    ]  # fmt: skip


def test_down_walks_from_the_command_to_everything() -> None:
    made = nightly()
    lineage = lineage_of(made)
    start = made.entries[made.topics.commands][0]

    down = {each.place for each in lineage.down(start.place)}

    assert down == {each.place for each in lineage.entries} - {start.place}


def test_a_retry_follows_from_the_failure_through_its_timer() -> None:
    made = HandMade(define(node("a")))
    made.started("a")
    made.failed("a")
    made.retry("a", 2)
    again = made.trigger_of("a", 2)

    up = lineage_of(made).up(again.place)

    assert names(up)[:4] == ["StepScheduled", "RetryDue", "RetryScheduled", "StepFailed"]


def test_the_setters_of_many_timers_are_found_without_looking_at_every_fact_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thousand items of four attempts took a minute: every timer looked at all facts of the run."""
    made, items = HandMade(define(node("m", over="params.items"))), 100
    start = made.started()
    made.follows(facts.StepExpanded(made.run, "m", items), start)
    for item in range(items):
        made.scheduled("m", 1, item, cause=start)
        made.failed("m", 1, item)
        made.retry("m", 2, SECOND, item)
    entries, looked, fact = made.history().entries, 0, Entry.__dict__["fact"].fget

    def counted(entry: Entry) -> facts.Event | None:
        nonlocal looked
        looked += 1
        found: facts.Event | None = fact(entry)
        return found

    monkeypatch.setattr(Entry, "fact", property(counted))
    lineage = Lineage(made.run, entries)

    due = [each for each in lineage.entries if isinstance(each.fact, facts.RetryDue)]
    assert len(due) == items
    assert all(isinstance(lineage.causes(each)[0].fact, facts.RetryScheduled) for each in due)
    assert looked < 10 * len(entries)


def test_every_deadline_follows_from_what_set_it() -> None:
    made = HandMade(define(node("a", deadline=SECOND)))
    made.started(deadline=SECOND)
    made.scheduled("a", deadline=SECOND)
    made.held("a")
    made.stopping()
    markers = [made.marked(facts.DeadlinePassed(made.run, scope, step, 1)) for scope, step in SCOPES]
    lineage = lineage_of(made)

    setters = [names(lineage.causes(marker)) for marker in markers]

    assert setters == [["RunStarted"], ["StepScheduled"], ["RunHeld"], ["RunStopping"]]


SCOPES = [("run", ""), ("step", "a"), ("hold", "a"), ("stop", "")]


def test_a_replay_follows_from_its_command_and_from_the_dead_letter() -> None:
    made = HandMade(define(node("a")))
    made.started("a")
    letter = made.dead_letter(made.failed("a"), "exception")
    marker = made.replay_asked("a", 1, letter)
    lineage = lineage_of(made)

    assert names(lineage.causes(marker)) == ["ReplayDeadLetter", "dead"]
    assert letter in lineage.up(marker.id)


def test_what_handlers_published_follows_from_their_result() -> None:
    made = nightly()
    lineage = lineage_of(made)

    assert [each.topic for each in lineage.published] == ["reports.daily"]
    assert names(lineage.causes(lineage.published[0]))[0] == "StepSucceeded"
    assert len(lineage.dead_letters) == 1
    assert len(lineage.triggers) == 69
    assert len(lineage.commands) == 2


def test_an_id_that_was_written_twice_is_found_twice() -> None:
    made = HandMade(define(node("a")))
    made.started("a")
    first = made.marked(facts.RetryDue(made.run, "a", 2))
    second = made.marked(facts.RetryDue(made.run, "a", 2))
    lineage = lineage_of(made)

    assert lineage.find(first.id) == (first, second)
    assert lineage.find(first.place) == (first,)
    assert lineage.find("nothing") == ()


# --- lives --------------------------------------------------------------------------------


def lived_twice(*, directly: bool = False) -> tuple[HandMade, Lineage, Lineage]:
    """A run that went well, and the one that began under its id when that was free again, and is held."""
    made = HandMade(define(node("a"), node("b", "a")))
    made.started_directly("a") if directly else made.started("a")
    made.succeeded("a", fired=["b"])
    made.succeeded("b")
    first = made.settled()
    made.wait(2 * DAY)
    made.started_directly("a") if directly else made.started("a")
    made.consumed = made.entries[made.topics.inbox("a")][-1]
    made.failed("a", retryable=False)
    made.given_up("a", 1, "exception", by="agent")
    made.held("a")
    history = made.history().entries
    return made, Lineage(made.run, life_of(history, first)), Lineage(made.run, life_of(history))


@pytest.mark.parametrize("directly", [False, True], ids=["by command", "directly"])
def test_an_id_that_was_used_again_is_two_runs_with_a_tree_each(directly: bool) -> None:
    """Ids of agents' facts are alike in both lives: the tree was of the first one's success with the other's letter."""
    made, first, last = lived_twice(directly=directly)

    old, new = tree_of(first), tree_of(last)
    assert (old.outcome, new.outcome) == ("succeeded", "")
    assert [work.outcome for branch in old.branches for work in branch.works] == ["succeeded"]
    assert [work.outcome for branch in new.branches for work in branch.works] == ["dead_letter"]
    assert [len(each.commands) for each in (first, last)] == ([0, 0] if directly else [1, 1])
    assert [len(each.triggers) for each in (first, last)] == [2, 1]
    assert new.started is not None
    assert new.started - first.entries[-1].time >= DAY
    assert len(first.entries) + len(last.entries) == len(Lineage(made.run, made.history().entries).entries)


def test_a_start_that_was_written_twice_is_no_other_life() -> None:
    made = HandMade(define(node("a")))
    made.started("a")
    made.started("a")

    assert len(life_of(made.history().entries)) == len(made.history().entries)


# --- entries ------------------------------------------------------------------------------


def entry(topic: str = "t", value: bytes | None = b"?", headers: list[tuple[str, bytes]] | None = None) -> Entry:
    """An entry of a raw record."""
    return from_record(topic, 1, 7, b"key", value, headers or [], 1_000)


def envelope(kind: str) -> list[tuple[str, bytes]]:
    """Headers of a record of some type."""
    return Envelope("id", kind, "source", datetime(2026, 1, 1, tzinfo=UTC), run="r-1").headers()


def test_a_record_without_envelope_has_its_place_for_an_id_and_a_reason() -> None:
    it = entry()

    assert (it.id, it.place, it.reason) == ("t/1/7", "t/1/7", "no_envelope")
    assert (it.run, it.unit, it.attempt, it.cause, it.input, it.source) == ("", ("", -1), 0, "", "", "")
    assert it.time == it.timestamp == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert [it.is_trigger, it.is_dead_letter, it.is_consequence, it.is_published] == [False] * 4


def test_a_malformed_envelope_is_a_reason_too() -> None:
    headers = [*envelope("farandole.Trigger"), ("ce_attempt", b"one")]

    assert entry(headers=headers).reason == "bad_envelope"


def test_a_record_of_ours_that_cannot_be_decoded_says_why() -> None:
    it = entry(value=b"\xc3\x01________garbage", headers=envelope("farandole.StepSucceeded"))

    assert (it.fact, it.reason, it.run) == (None, "unknown_schema", "r-1")


def test_users_data_is_left_alone() -> None:
    for kind in ("farandole.Trigger", "farandole.DeadLetter", "my.topic"):
        assert entry(headers=envelope(kind)).reason == ""


def test_a_tombstone_has_no_size_and_no_reason() -> None:
    it = entry(value=None)

    assert (it.size, it.reason, it.content) == (None, "", None)


def test_a_command_of_kcats_is_about_the_run_that_its_place_gives() -> None:
    named = entry("ns.commands", b'{"run_id":"r-1","pipeline":"p"}')
    derived = entry("ns.commands", b'{"pipeline":"p"}')
    forwarded = entry("ns.commands", b'{"pipeline":"p"}', [("farandole_run", b"ns.commands.0.3")])
    unreadable = entry("ns.commands", b"what?")

    assert named.command == StartRun("p", b"{}", "r-1")
    assert [each.run for each in (named, derived, forwarded, unreadable)] == [
        "r-1", "ns.commands.1.7", "ns.commands.0.3", "ns.commands.1.7",
    ]  # fmt: skip
    assert unreadable.reason != ""


def test_a_log_time_that_cannot_be_is_the_epoch() -> None:
    for stamp in (-1, 2**63 - 1):
        it = from_record("t", 0, 0, None, None, [], stamp)
        assert it.timestamp.year <= 1970
        assert it.key == ""


# --- words ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ms", "text"),
    [(7, "7 ms"), (1250, "1.25 s"), (59_900, "59.9 s"), (200_000, "3 min 20 s"), (7_500_000, "2 h 5 min")],
)
def test_durations_read_in_three_figures(ms: int, text: str) -> None:
    assert duration_text(timedelta(milliseconds=ms)) == text


def test_ranges_join_what_follows_on() -> None:
    assert ranges([0, 1, 2, 4, 6, 7]) == "0-2, 4, 6-7"


@pytest.mark.parametrize("ms", [1 << 62, -(1 << 62)])
def test_a_duration_that_none_can_be_is_left_out_and_ends_no_picture(ms: int) -> None:
    """A stranger's agent had counted in other units: `lineage` ended with an OverflowError."""
    made = HandMade(define(node("a")))
    made.started("a")
    made.succeeded("a")
    wrong = facts.StepSucceeded(made.run, "a", 1, b"", duration_ms=ms)
    entries = [
        replace(each, content=wrong) if isinstance(each.fact, facts.StepSucceeded) else each
        for each in made.history().entries
    ]

    (branch,) = tree_of(Lineage(made.run, entries)).branches

    assert [(one.outcome, one.duration) for one in branch.works[0].tries] == [("succeeded", None)]
