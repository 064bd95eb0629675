"""What would release a run from each thing it waits for, with the very command to type.

Pure: from what is known to sentences.
"""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from farandole.client.dead import OPEN, DeadLetter
from farandole.client.waiting import Wait

COMMANDS_MAX = 3
"""Dead letters of one step that are named one by one; beyond, one command is given for all."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What a person may do about one wait; `commands` are to be typed as they stand."""

    text: str
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known beside the run: its dead letters, and how many processes serve an agent's inbox."""

    letters: tuple[DeadLetter, ...] = ()
    processes: Mapping[str, int] | None = None
    agents: Mapping[str, str] | None = None
    """Agent of each step."""


def advice(run: str, waits: Iterable[Wait], around: Surroundings) -> Advice:
    """What releases the run from some waits of one kind on one step."""
    found = list(waits)
    first = found[0]
    match first.kind:
        case "dead_letter":
            return _of_dead_letters(run, found, around)
        case "suspected":
            return Advice(
                "if the attempt is under way after all, let it go on; else end the run and start it again",
                (f"farandole run release {run}", f"farandole run cancel {run}"),
            )
        case "kernel_error":
            return Advice(
                "mend what the error names, then let it go on; or end the run",
                (f"farandole run release {run}", f"farandole run cancel {run}"),
            )
        case "agent":
            return _of_agent((around.agents or {}).get(first.step, first.step), around.processes or {})
        case "retry":
            return Advice("the next attempt comes by itself")
        case "reports":
            return Advice("the run ends when it reports, or when its patience ends")
        case _:
            return Advice("")


def _of_agent(agent: str, processes: Mapping[str, int]) -> Advice:
    if processes.get(agent, 1) == 0:
        return Advice("no process serves this agent now: start one", ("farandole agent run PATH",))
    return Advice("its agent answers", (f"farandole lag --agent {agent}",))


def _of_dead_letters(run: str, waits: list[Wait], around: Surroundings) -> Advice:
    meant = {(wait.step, wait.item) for wait in waits}
    opened = [it for it in around.letters if it.state == OPEN and it.step == waits[0].step]
    letters = [it for it in opened if (it.step, it.item) in meant]
    places = [it.place for it in letters]
    text = "repair the cause and try again, repair the input, or go on without it"
    if not places:
        return Advice(text, (f"farandole dead list --run {run}",))
    if len(places) > COMMANDS_MAX:
        where = f"--run {run} --where {shlex.quote(_which(letters, opened))}"
        return Advice(text, (f"farandole dead replay {where}", f"farandole dead discard {where}"))
    if len(places) > 1:
        return Advice(text, tuple(f"farandole dead replay {place}" for place in places))
    return Advice(text, tuple(f"farandole dead {verb} {places[0]}" for verb in ("replay", "edit", "discard")))


def _which(meant: Sequence[DeadLetter], opened: Sequence[DeadLetter]) -> str:
    """An expression for the letters that are meant and for no other of their step: a discard is for good."""
    causes = sorted({it.fingerprint for it in meant})
    conditions = [f'step == "{meant[0].step}"']
    if all(causes):
        told = ", ".join(json.dumps(each) for each in causes)  # it may be of a stranger, who wrote the header
        conditions.append(f"fingerprint in [{told}]" if len(causes) > 1 else f"fingerprint == {told}")
    if any(it.fingerprint in causes for it in opened if it not in meant):  # it is the same but for a number
        conditions.append(f"item in [{', '.join(str(it.item) for it in meant)}]")
    return " && ".join(conditions)
