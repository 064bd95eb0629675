"""The order of folding: consequences say how far the log was folded, and stand behind it (I9)."""

from collections import defaultdict
from collections.abc import Iterator

from farandole.events import facts
from farandole.lineage.entries import Entry
from farandole.testing.history.cases import Case, Docket, attempt_text
from farandole.testing.history.report import Violation
from farandole.testing.history.story import folded_at


def events_can_be_read(docket: Docket) -> Iterator[Violation]:
    """I9: everything on `events` is an event of ours."""
    for each in docket.history.events:
        if each.run in docket.history.foreign:
            continue
        if each.fact is None or each.envelope is None:
            why = each.reason or "its value is no event"
            yield Violation("I9", each.run, f"an event cannot be read: {why}", (each.place,))


def headers_say_what_values_say(docket: Docket) -> Iterator[Violation]:
    """I9: value and headers of an event name the same run, step, item and attempt; else each reader takes another."""
    for case in docket.cases.values():
        for each in case.garbled:
            about = attempt_text((*each.unit, each.attempt)) if each.unit[0] else "the run"
            told = f"the headers of a {type(each.fact).__name__} are about {about}, but its value says otherwise"
            yield case.broken("I9", told, each)


def consequences_say_how_far(case: Case) -> Iterator[Violation]:
    """I9: consequences, and they alone, carry `ce_folded`, of their own partition and behind what they folded.

    A direct start is a fact: the agent that took its trigger wrote it.
    """
    for each in case.events:
        if each.fact is None:
            continue
        direct = isinstance(each.fact, facts.RunStarted) and bool(each.fact.fired)
        should = isinstance(each.fact, facts.Consequence) and not direct
        if should != each.is_consequence:
            word = "lacks" if should else "carries"
            yield case.broken("I9", f"{type(each.fact).__name__} {word} ce_folded", each)
            continue
        folded = folded_at(each)
        if should and (folded is None or folded[0] != each.partition or folded[1] > each.offset):
            yield case.broken("I9", f"{type(each.fact).__name__} says that it folded up to {folded}", each)


def consequences_follow_what_was_read(case: Case) -> Iterator[Violation]:
    """I9: what follows from a fact is written when the fact was read back, not before: markers included."""
    at: dict[str, Entry] = {}
    for each in case.events:
        if not each.is_consequence:
            at.setdefault(each.id, each)  # a timer may have been written twice
    for each in case.events:
        folded, cause = folded_at(each), at.get(each.cause)
        if folded is not None and cause is not None and folded[1] <= cause.offset:
            told = f"{type(each.fact).__name__} was folded up to {folded[1]}, before its cause was read"
            yield case.broken("I9", told, cause, each)


def folding_never_goes_back(docket: Docket) -> Iterator[Violation]:
    """I9: of each home partition the consequences, in the order of the log, were folded further and further."""
    reached: dict[int, tuple[int, Entry]] = {}
    for each in sorted(docket.history.events, key=lambda e: (e.partition, e.offset)):
        folded = folded_at(each)
        if folded is None or folded[0] != each.partition:
            continue
        before = reached.get(each.partition)
        if before is not None and folded[1] < before[0]:
            told = f"a consequence was folded up to {folded[1]} after another up to {before[0]}: two owners wrote"
            yield Violation("I9", each.run, told, (before[1].place, each.place))
        reached[each.partition] = max(before or (0, each), (folded[1], each), key=lambda pair: pair[0])


def consequences_are_written_once(case: Case) -> Iterator[Violation]:
    """I9: the same consequence of the same fact twice means that it was folded twice.

    A run may be held by the same fact again after its release; a start that was sent twice is refused twice.
    """
    by_id: dict[str, list[Entry]] = defaultdict(list)
    for each in case.events:
        if each.is_consequence and not isinstance(each.fact, facts.RunHeld | facts.RunRefused):
            by_id[each.id].append(each)
    for several in by_id.values():
        if len(several) > 1:
            yield case.broken("I9", f"{type(several[0].fact).__name__} was written {len(several)} times", *several)


def commands_are_marked_once(case: Case) -> Iterator[Violation]:
    """I9: a command becomes one marker."""
    by_id: dict[str, list[Entry]] = defaultdict(list)
    asked = facts.CancelRequested | facts.ReplayRequested | facts.DiscardRequested | facts.ReleaseRequested
    for each in case.events:
        if isinstance(each.fact, asked):
            by_id[each.id].append(each)
    for several in by_id.values():
        if len(several) > 1:
            yield case.broken("I9", f"one command became {len(several)} markers", *several)


def rebuilt_runs_equal_state(docket: Docket) -> Iterator[Violation]:
    """I9: folding `events` anew gives what `runs` holds, where somebody can do that."""
    if docket.history.rebuild is not None:
        yield from docket.history.rebuild(docket.history)
