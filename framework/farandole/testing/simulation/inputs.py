"""What steps were given, held against what they ask for: the values of triggers, of failures and of dead letters.

Of the history checker it takes the story of a run and its reading of expressions; the values themselves are only in
a world's inboxes, for a history does not keep them.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from farandole.definition.inputs import inbox_value
from farandole.definition.model import Step
from farandole.definition.policy import JoinKind
from farandole.errors import RecordError
from farandole.events import facts
from farandole.events.avro import Schema
from farandole.events.envelope import Envelope, parse_envelope
from farandole.ids import NO_ITEM
from farandole.lineage.entries import Entry, Unit
from farandole.testing.history.cases import AttemptKey, Case, attempt_text
from farandole.testing.history.standing import Standing, walk
from farandole.testing.history.values import UnknownValue, Values, decoded, is_same
from farandole.transport.port import Record

UNKNOWN = object()
"""What a step asked for is not on the log, or cannot be evaluated: an error of the definition, which holds the run."""


@dataclass(slots=True)
class Inputs:
    """One run. `triggers`: framed values by attempt, as they stand in inboxes; `dead`: those of dead letters by the
    id of the fact that each went with, for an attempt that was given up may fail yet, and then it leaves two."""

    case: Case
    triggers: Mapping[AttemptKey, bytes]
    dead: Mapping[str, bytes] = field(default_factory=dict)
    asked: dict[Unit, object] = field(default_factory=dict)
    """What each unit asks for: its first attempt says so, and a replay may bring another."""

    repaired: set[Unit] = field(default_factory=set)
    before: dict[AttemptKey, object] = field(default_factory=dict)
    """What an attempt was given whose input a coordinator made anew since: it may report yet, and says what it was."""

    def wrong(self) -> Iterator[str]:
        """Every value that is not what its step asks for, in words."""
        for each, before in walk(self.case.graph, self.case.story):
            key = *each.unit, each.attempt
            match each.fact:
                case facts.StepScheduled():
                    self._ask(each, before)
                    yield from self._compare("was given", key, self.triggers.get(key))
                case facts.StepSucceeded(fired=fired, fused=fused):
                    for child in fired:
                        self.asked[child, NO_ITEM] = self._value(each, before, (child, NO_ITEM))
                        if child not in fused:
                            first = child, NO_ITEM, 1
                            yield from self._compare("was given", first, self.triggers.get(first))
                case facts.StepFailed(input=given, dead_lettered=is_final):
                    was = self.before.get(key)
                    yield from self._compare("says that it was given", key, given or None, was)
                    if is_final:
                        yield from self._compare("left, as a dead letter,", key, self.dead.get(each.id), was)
                case facts.StepDeadLettered(written_by="coordinator"):
                    if self._is_made_anew(before, each.unit):
                        self.before[key] = self.asked.get(each.unit, UNKNOWN)
                        self.asked[each.unit] = self._value(each, before, each.unit)
                    yield from self._compare("left, as a dead letter,", key, self.dead.get(each.id))
                case _:
                    pass

    def _ask(self, scheduled: Entry, before: Standing) -> None:
        unit, cause = scheduled.unit, self.case.cause_of(scheduled)
        brought = cause.fact.input if cause is not None and isinstance(cause.fact, facts.ReplayRequested) else None
        if brought:
            self.asked[unit] = _read(self.case.graph.step(unit[0]), brought)
            self.repaired.add(unit)
        elif scheduled.attempt == 1 or self._is_made_anew(before, unit):
            self.asked[unit] = self._value(scheduled, before, unit)

    def _is_made_anew(self, before: Standing, unit: Unit) -> bool:
        """Whether a coordinator makes the input once more, because no failure has told what it was, and of a join that
        did not wait for all its parents: the results that have come since are in it then."""
        failed = before.unit(*unit).failure
        is_told = failed is not None and isinstance(failed.fact, facts.StepFailed) and bool(failed.fact.input)
        is_early = self.case.graph.step(unit[0]).join.kind in (JoinKind.ANY, JoinKind.N_OF)
        return is_early and not is_told and unit not in self.repaired

    def _value(self, entry: Entry, before: Standing, unit: Unit) -> object:
        """What params and results give at one point of the story."""
        step = self.case.graph.step(unit[0])
        texts = [each.expression for each in step.inputs.values()]
        try:
            env = Values(self.case, before, entry).env(step, unit[1], *texts)
            return _read(step, Schema.parse(step.input_schema).encode(inbox_value(step, env)))
        except (UnknownValue, RecordError):
            return UNKNOWN

    def _compare(self, word: str, key: AttemptKey, framed: bytes | None, was: object = None) -> Iterator[str]:
        """`was`: what it may be as well, if there is such a thing."""
        wanted = self.asked.get(key[:2], UNKNOWN)
        if wanted is UNKNOWN or framed is None:
            return
        given = _read(self.case.graph.step(key[0]), framed)
        if given is not UNKNOWN and was is not UNKNOWN and not (is_same(given, wanted) or is_same(given, was)):
            yield f"{attempt_text(key)} of {self.case.run} {word} {given!r:.200}, but it asks for {wanted!r:.200}"


def _read(step: Step, framed: bytes) -> object:
    try:
        return decoded(step.input_schema, framed)
    except UnknownValue:
        return UNKNOWN
    except RecordError as bad:
        return f"nothing that can be read: {bad}"


def triggers_of(records: Iterable[Record]) -> Mapping[str, Mapping[AttemptKey, bytes]]:
    """Values of triggers by run and attempt."""
    found: dict[str, dict[AttemptKey, bytes]] = defaultdict(dict)
    for it, value in _enveloped(records):
        found[it.run][it.step, it.item, it.attempt] = value
    return found


def letters_of(records: Iterable[Record]) -> Mapping[str, Mapping[str, bytes]]:
    """Values of dead letters by run and the fact that each went with."""
    found: dict[str, dict[str, bytes]] = defaultdict(dict)
    for it, value in _enveloped(records):
        found[it.run][it.cause] = value
    return found


def _enveloped(records: Iterable[Record]) -> Iterator[tuple[Envelope, bytes]]:
    for record in records:
        it = parse_envelope(record.headers)
        if it.run:
            yield it, record.value or b""
