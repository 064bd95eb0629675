"""What happened in a world, in the order in which it happened, for a person to read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from farandole.events import facts
from farandole.ids import NO_ITEM

SHOWN_MAX = 100
"""Characters of one value or error that a line shows."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One line: when (virtual time since the beginning), who, what; `run` is empty where it is about no single one."""

    at: timedelta
    who: str
    what: str
    run: str = ""

    def __str__(self) -> str:
        return f"{self.at.total_seconds():8.2f} s  {self.who:<12} {self.what}"


@dataclass(slots=True)
class Story:
    """Filled by the world."""

    happenings: list[Happening] = field(default_factory=list)

    def tell(self, at: timedelta, who: str, what: str, run: str = "") -> None:
        """One thing happened."""
        self.happenings.append(Happening(at, who, what, run))

    def lines(self) -> Iterable[str]:
        """Everything, line by line."""
        return (str(each) for each in self.happenings)


def step_text(run: str, step: str, item: int) -> str:
    """A step of a run as a line names it: `charge of run-1`, `clean[3] of run-1`."""
    return f"{step}{'' if item == NO_ITEM else f'[{item}]'} of {run}"


def fields_text(fields: Mapping[str, object]) -> str:
    """`order=o-1 amount=420`."""
    return " ".join(f"{name}={shown(value)}" for name, value in fields.items())


def shown(value: object) -> str:
    """A value on one line, cut."""
    text = str(value).replace("\n", " ")
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 1] + "…"


def fact_text(event: facts.Event) -> str | None:
    """What the log says, for the facts that matter to who wrote the handlers; None for the others."""
    match event:
        case facts.StepSucceeded():
            return f"{step_text(event.run, event.step, event.item)} succeeded (attempt {event.attempt})"
        case facts.StepFailed():
            where = step_text(event.run, event.step, event.item)
            return f"{where} failed (attempt {event.attempt}): {shown(event.error)}"
        case facts.StepDeadLettered():
            return f"{step_text(event.run, event.step, event.item)} was given up (attempt {event.attempt})"
        case facts.StepSkipped():
            return f"{step_text(event.run, event.step, event.item)} is skipped"
        case facts.RunHeld():
            return f"{event.run} is held: {shown(event.reason)}"
        case facts.RunSettled():
            return f"{event.run} ended {event.outcome}"
        case facts.RunRefused():
            return f"{event.run} was refused: {shown(event.detail)}"
        case _:
            return None
