"""`--where`: a CEL expression over the fields of a dead letter, and the choice of letters that it makes.

state == "open" && agent == "charge" && error.contains("timeout") && payload.total > 1000
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import typer

from farandole.cli.output import shorten, visible
from farandole.client.dead import DeadLetter, dead_records, input_of
from farandole.client.session import Session
from farandole.definition.expressions import ExpressionError, compile_expression
from farandole.errors import ConfigError, RecordError
from farandole.transport.port import Record

PAYLOAD = "payload"
"""The failed input, decoded; null where it cannot be. Only read where the expression asks for it."""

FIELDS = (*(each.name for each in fields(DeadLetter)), PAYLOAD)
"""What an expression may mention."""

TOLD_MAX = 300
"""Characters of what the library of expressions says is wrong."""

Letters = list[tuple[DeadLetter, Record]]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which dead letters are meant: named ones, or all that the filters let through."""

    places: Sequence[str] = ()
    agent: str = ""
    run: str = ""
    where: str = ""
    closed: bool = False

    @property
    def is_everything(self) -> bool:
        """Whether nothing narrows it down."""
        return not (self.places or self.agent or self.run or self.where)


async def filtered(session: Session, choice: Choice) -> Letters:
    """The letters of the filters, the oldest first. One without a field that the expression asks for is not meant.

    If all are without it, it is misspelt.

    Raises:
        ConfigError: the expression is none, mentions what a letter does not have, or cannot be evaluated for one.
    """
    check_where(choice.where)
    found = await dead_records(session, agent=choice.agent, run_id=choice.run, closed=choice.closed)
    if not choice.where:
        return found
    passed = _Passed()
    meant = [each for each in found if await _holds(session, choice.where, *each, passed)]
    if passed.count and passed.count == len(found):
        raise ConfigError(
            f"--where: expected what a dead letter has, but none of {passed.count} has {passed.lacked}. "
            "Nothing was done; `dead show PLACE` has the names."
        )
    if passed.count:
        typer.echo(f"--where: passed over {passed.count} of {len(found)}, which have no {passed.lacked}", err=True)
    return meant


@dataclass(slots=True)
class _Passed:
    """Letters that lack what the expression asks for: each agent's input has fields of its own."""

    count: int = 0
    names: set[str] = field(default_factory=set)

    def add(self, lacks: str) -> None:
        """One more."""
        self.count += 1
        self.names.add(lacks)

    @property
    def lacked(self) -> str:
        """What they lack, as a list."""
        return ", ".join(sorted(self.names))


def check_where(where: str) -> None:
    """Refuse an expression before anything is read."""
    if not where:
        return
    try:
        expression = compile_expression(where)
        expression.check_compiles()
    except ExpressionError as bad:
        raise ConfigError(f"--where: {bad}. Nothing was done.") from None
    if strange := sorted(expression.roots - set(FIELDS)):
        raise ConfigError(
            f"--where: expected fields of a dead letter ({', '.join(FIELDS)}), but found {', '.join(strange)}. "
            "Nothing was done; text stands in quotes."
        )


async def _holds(session: Session, where: str, letter: DeadLetter, record: Record, passed: _Passed) -> bool:
    expression = compile_expression(where)
    env: dict[str, object] = {name: getattr(letter, name) for name in expression.roots if name != PAYLOAD}
    if PAYLOAD in expression.roots:
        env[PAYLOAD] = await _payload(session, letter, record)
    try:
        found = expression.evaluate(env)
    except ExpressionError as bad:
        if lacks := _lacking(bad, env):
            passed.add(lacks)
            return False
        told = shorten(str(bad.__cause__ or bad), TOLD_MAX)
        raise ConfigError(f"--where, of {letter.place}: {told} Nothing was done.") from None
    if not isinstance(found, bool):
        raise ConfigError(f"--where: expected true or false, but for {letter.place} it gave {found!r:.80}")
    return found


def _lacking(bad: ExpressionError, env: Mapping[str, object]) -> str:
    """The field that a letter does not have, if that is why the expression has no value."""
    if isinstance(bad.__cause__, LookupError):
        return visible(str(bad.__cause__.args[0])) if isinstance(bad.__cause__, KeyError) else "such item"
    has_fields = isinstance(env.get(PAYLOAD, {}), Mapping)
    return "" if has_fields or not isinstance(bad.__cause__, TypeError) else f"fields in {PAYLOAD}"


async def _payload(session: Session, letter: DeadLetter, record: Record) -> object:
    try:
        return await input_of(session, letter, record)
    except RecordError:
        return None
