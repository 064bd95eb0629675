"""What steps were given, held against what they ask for: the values of triggers, of failures and of dead letters.

Of the history checker it takes the story of a run and its reading of expressions; the values themselves are only in
a world's inboxes, for a history does not keep them.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from farandole.definition.inputs import inbox_value
from farandole.definition.model import Step
from farandole.errors import RecordError
from farandole.events import facts
from farandole.events.avro import Schema
from farandole.events.envelope import parse_envelope
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
    """One run. `triggers` and `dead`: framed values by attempt, as they stand in inboxes and among dead letters."""

    case: Case
    triggers: Mapping[AttemptKey, bytes]
    dead: Mapping[AttemptKey, bytes] = field(default_factory=dict)
    asked: dict[Unit, object] = field(default_factory=dict)
    """What each unit asks for: its first attempt says so, and a replay may bring another."""

    def wrong(self) -> Iterator[str]:
        """Every value that is not what its step asks for, in words."""
        for each, before in walk(self.case.graph, self.case.story):
            match each.fact:
                case facts.StepScheduled(attempt=attempt):
                    self._ask(each, before, each.unit, attempt)
                    yield from self._compare("was given", (*each.unit, attempt), self.triggers)
                case facts.StepSucceeded(fired=fired, fused=fused):
                    for child in fired:
                        self._ask(each, before, (child, NO_ITEM), 1)
                        if child not in fused:
                            yield from self._compare("was given", (child, NO_ITEM, 1), self.triggers)
                case facts.StepFailed(attempt=attempt, input=given) if given:
                    yield from self._compare(
                        "says that it was given", (*each.unit, attempt), {(*each.unit, attempt): given}
                    )
                case _:
                    pass
        for key in self.dead:
            yield from self._compare("left, as a dead letter,", key, self.dead)

    def _ask(self, entry: Entry, before: Standing, unit: Unit, attempt: int) -> None:
        step, cause = self.case.graph.step(unit[0]), self.case.cause_of(entry)
        repaired = cause.fact.input if cause is not None and isinstance(cause.fact, facts.ReplayRequested) else None
        if repaired:
            self.asked[unit] = _read(step, repaired)
        elif attempt == 1:
            self.asked[unit] = self._first(entry, before, step, unit[1])

    def _first(self, entry: Entry, before: Standing, step: Step, item: int) -> object:
        texts = [each.expression for each in step.inputs.values()]
        try:
            env = Values(self.case, before, entry).env(step, item, *texts)
            return _read(step, Schema.parse(step.input_schema).encode(inbox_value(step, env)))
        except (UnknownValue, RecordError):
            return UNKNOWN

    def _compare(self, word: str, key: AttemptKey, values: Mapping[AttemptKey, bytes]) -> Iterator[str]:
        wanted, framed = self.asked.get(key[:2], UNKNOWN), values.get(key)
        if wanted is UNKNOWN or framed is None:
            return
        given = _read(self.case.graph.step(key[0]), framed)
        if given is not UNKNOWN and not is_same(given, wanted):
            yield f"{attempt_text(key)} of {self.case.run} {word} {given!r:.200}, but it asks for {wanted!r:.200}"


def _read(step: Step, framed: bytes) -> object:
    try:
        return decoded(step.input_schema, framed)
    except UnknownValue:
        return UNKNOWN
    except RecordError as bad:
        return f"nothing that can be read: {bad}"


def values_of(records: Iterable[Record]) -> Mapping[str, Mapping[AttemptKey, bytes]]:
    """Values of triggers or dead letters by run and attempt."""
    found: dict[str, dict[AttemptKey, bytes]] = defaultdict(dict)
    for record in records:
        it = parse_envelope(record.headers)
        if it.run:
            found[it.run][it.step, it.item, it.attempt] = record.value or b""
    return found
