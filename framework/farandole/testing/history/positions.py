"""Positions and effects agree: what counts as consumed has its outcome, and what has one counts (I10, I11, I15, I16).

Either direction failing is a transaction that was torn, lost or done twice.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from farandole.events import facts
from farandole.lineage.entries import Entry
from farandole.testing.history.cases import Case, Docket
from farandole.testing.history.report import Committed, Violation


def outcomes(docket: Docket) -> Mapping[str, list[Entry]]:
    """What was made of each inbox record, by its place: an agent's fact, or the dead letter of a stranger.

    What ran at once after it is no further outcome: it stands or falls with the first (`triggers` judges that).
    """
    found: dict[str, list[Entry]] = defaultdict(list)
    for each in docket.history.events:
        if isinstance(each.fact, facts.AgentFact) and not each.is_fused:
            found[each.input].append(each)
    for each in docket.history.dead:
        if each.is_dead_letter and not each.run:
            found[each.input].append(each)
    return found


def consumed_records_have_one_outcome(docket: Docket) -> Iterator[Violation]:
    """I10: an inbox record has at most one outcome, and exactly one once it counts as consumed.

    One that a person let be read again may have one more for each time.
    """
    found, committed = outcomes(docket), _by_partition(docket)
    events_are_whole = docket.history.is_whole(docket.history.topics.events)
    for record in docket.history.inboxes:
        made, position = found.get(record.place, []), committed.get((record.topic, record.partition))
        if len(made) > docket.readings.of(record):
            told = f"an inbox record has {len(made)} outcomes"
            yield _told("I10", record, told, *made)
        elif position is None or position.trouble:
            continue
        elif not made and position.is_done(record.offset) and events_are_whole:
            told = f"an inbox record counts as consumed by {position.group}, but has no outcome"
            yield _told("I10", record, told)
        elif made and docket.history.quiescent and not position.is_done(record.offset):
            told = f"an inbox record has its outcome, but {position.group} would consume it again"
            yield _told("I10", record, told, *made)


def outcomes_have_records(docket: Docket) -> Iterator[Violation]:
    """I10: an outcome names the inbox record that it was made of, of the same run, step, item and attempt."""
    for place, made in outcomes(docket).items():
        record = docket.by_place.get(place)
        for each in made:
            if each.run in docket.history.foreign:
                continue
            if record is None:
                if docket.is_old(each) and not docket.may_have_expired(place):
                    yield _told("I10", each, f"an outcome names {place or 'no record'}, where there is none")
            elif each.run and (each.run, *each.unit, each.attempt) != (record.run, *record.unit, record.attempt):
                yield _told("I10", each, "an outcome is about another attempt than the record it names", record)
            elif each.run and each.cause != record.id:
                yield _told("I10", each, f"an outcome names {each.cause} as its cause, not its record", record)


def positions_can_be_read(docket: Docket) -> Iterator[Violation]:
    """I10: the metadata of every committed position is ours."""
    for each in docket.history.committed:
        if each.trouble:
            place = f"{each.topic}/{each.partition}/{each.position}"
            yield Violation("I10", "", f"the position of {each.group} cannot be read: {each.trouble}", (place,))


def positions_exist(docket: Docket) -> Iterator[Violation]:
    """I11: every partition that somebody owns has a position: where it is gone, nobody reads on (R8)."""
    history = docket.history
    if not history.units:
        return  # nothing was applied, or nobody has looked
    known = {(each.topic, each.partition) for each in history.committed}
    owned = {history.topics.inbox(agent) for agent in history.units}
    for topic, number in history.spans:
        if topic in {*owned, history.topics.events, history.topics.commands} and (topic, number) not in known:
            yield Violation("I11", "", f"nobody has a position on {topic}[{number}]", (f"{topic}/{number}/0",))


def only_strangers_are_quarantined(docket: Docket) -> Iterator[Violation]:
    """I15: a trigger of a run that is known, in the inbox of its step's agent, is no stranger's record."""
    runs = {case.run: case for case in docket.judged}
    for letter in docket.history.dead:
        record = docket.by_place.get(letter.input)
        if letter.run or not letter.is_dead_letter or record is None or not record.is_trigger:
            continue
        case = runs.get(record.run)
        if case is None or record not in case.triggers.get((*record.unit, record.attempt), ()):
            continue
        if record.topic == docket.history.topics.inbox(case.graph.step(record.unit[0]).agent):
            yield case.broken("I15", "a good trigger was quarantined as a stranger's record", letter, record)


def positions_are_within_the_log(docket: Docket) -> Iterator[Violation]:
    """I11: nothing expired before it was consumed, and no position is beyond the end."""
    for each in docket.history.committed:
        span = docket.history.spans.get((each.topic, each.partition))
        if span is None:
            continue
        place = f"{each.topic}/{each.partition}/{each.position}"
        if each.position < span.begin:
            told = f"{each.group} stands at {each.position}, but the log begins at {span.begin}: records were lost"
            yield Violation("I11", "", told, (place,))
        if docket.history.quiescent and each.position > span.end:
            told = f"{each.group} stands at {each.position}, beyond the end at {span.end}"
            yield Violation("I11", "", told, (place,))
        if any(not each.position < offset for offset in each.done):
            told = f"{each.group} stands at {each.position}, but its bitmap says that this offset is done"
            yield Violation("I11", "", told, (place,))


def nothing_is_left_unconsumed(docket: Docket) -> Iterator[Violation]:
    """I11: when nothing is under way, every record of an inbox and of the home topics has been consumed."""
    if not docket.history.quiescent:
        return
    committed = _by_partition(docket)
    history = docket.history
    for record in (*history.inboxes, *history.commands, *history.events):
        position = committed.get((record.topic, record.partition))
        if position is None or position.trouble or position.is_done(record.offset):
            continue
        yield _told("I11", record, f"{position.group} has not consumed it: it stands at {position.position}")


def nothing_is_left_open(docket: Docket) -> Iterator[Violation]:
    """I16: when nothing is under way, no open transaction holds readers up."""
    if not docket.history.quiescent:
        return
    for (topic, number), span in docket.history.spans.items():
        if span.stable != span.end:
            told = f"committed reads end at {span.stable}, the log at {span.end}: a transaction is open"
            yield Violation("I16", "", told, (f"{topic}/{number}/{span.stable}",))


def dead_letters_have_causes(docket: Docket) -> Iterator[Violation]:
    """I15: a dead letter follows from the one fact that says it was written; a stranger's from its inbox record."""
    for case in docket.judged:
        for each in case.dead:
            causes = [e for e in docket.by_id.get(each.cause, ()) if _says_dead(e)]
            if not causes and docket.is_old(each):
                yield case.broken("I15", "a dead letter follows from no fact that says so", each)
    for each in docket.history.dead:
        if each.run or not each.is_dead_letter or not docket.is_old(each):
            continue
        record = docket.by_place.get(each.input)
        if record is None and not docket.may_have_expired(each.input):
            yield _told("I15", each, f"a quarantined record names {each.input or 'no record'}, where there is none")


def given_up_attempts_have_dead_letters(docket: Docket) -> Iterator[Violation]:
    """I15: whatever was given up on is in the dead-letter topic, once (and once for each repeat)."""
    for case in docket.judged:
        for each in case.events:
            if not _says_dead(each) or not docket.is_old(each):
                continue
            topic = docket.history.topics.dead(case.graph.step(each.unit[0]).agent)
            letters = [letter for letter in case.dead if letter.cause == each.id]
            if not letters and docket.history.is_whole(topic):
                yield case.broken("I15", f"it was given up on, but {topic} does not hold it", each)
            if len(letters) > _letters_due(case, each):
                yield case.broken("I15", f"it was dead-lettered {len(letters)} times", each, *letters)
            if any(letter.topic != topic for letter in letters):
                yield case.broken("I15", f"its dead letter is not in {topic}", each, *letters)


def final_failures_are_dead_lettered(case: Case) -> Iterator[Violation]:
    """I15: an agent writes the dead letter itself exactly where no attempt can follow."""
    for each in case.events:
        fact = each.fact
        if isinstance(fact, facts.StepFailed) and fact.dead_lettered == fact.retryable:
            word = "was dead-lettered, though it may be tried again" if fact.retryable else "was not dead-lettered"
            yield case.broken("I15", f"a failure ({fact.kind}) {word}", each)


def _letters_due(case: Case, told: Entry) -> int:
    """One, and one for each repeat of the fact that says so: they have its id, and each has its own transaction."""
    copies = [each for each in case.events if each.id == told.id]
    own = case.own(copies)
    return len(copies) - len(own) + min(1, len(own))


def _says_dead(entry: Entry) -> bool:
    match entry.fact:
        case facts.StepFailed(dead_lettered=written):
            return written
        case facts.StepDeadLettered(written_by=by):
            return by == "coordinator"
        case _:
            return False


def _by_partition(docket: Docket) -> dict[tuple[str, int], Committed]:
    """The position that counts for each partition: of the group that consumes it, or the only one there is."""
    return {(each.topic, each.partition): each for each in docket.history.committed}


def _told(invariant: str, record: Entry, message: str, *more: Entry) -> Violation:
    return Violation(invariant, record.run, message, (record.place, *(each.place for each in more)))
