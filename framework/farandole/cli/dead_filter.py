"""`--where`: a CEL expression over the fields of a dead letter, and the choice of letters that it makes.

state == "open" && agent == "charge" && error.contains("timeout") && payload.total > 1000
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from farandole.client.dead import DeadLetter, dead_records, input_of
from farandole.client.session import Session
from farandole.definition.expressions import ExpressionError, compile_expression
from farandole.errors import ConfigError, RecordError
from farandole.transport.port import Record

PAYLOAD = "payload"
"""The failed input, decoded; null where it cannot be. Only read where the expression asks for it."""

FIELDS = (*(field.name for field in fields(DeadLetter)), PAYLOAD)
"""What an expression may mention."""

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
    """The letters of the filters, the oldest first.

    Raises:
        ConfigError: the expression is none, mentions what a letter does not have, or cannot be evaluated for one.
    """
    check_where(choice.where)
    found = await dead_records(session, agent=choice.agent, run_id=choice.run, closed=choice.closed)
    return [each for each in found if not choice.where or await _holds(session, choice.where, *each)]


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


async def _holds(session: Session, where: str, letter: DeadLetter, record: Record) -> bool:
    expression = compile_expression(where)
    env: dict[str, object] = {name: getattr(letter, name) for name in expression.roots if name != PAYLOAD}
    if PAYLOAD in expression.roots:
        env[PAYLOAD] = await _payload(session, letter, record)
    try:
        found = expression.evaluate(env)
    except ExpressionError as bad:
        raise ConfigError(f"--where, of {letter.place}: {bad}. Nothing was done.") from None
    if not isinstance(found, bool):
        raise ConfigError(f"--where: expected true or false, but for {letter.place} it gave {found!r:.80}")
    return found


async def _payload(session: Session, letter: DeadLetter, record: Record) -> object:
    try:
        return await input_of(session, letter, record)
    except RecordError:
        return None
