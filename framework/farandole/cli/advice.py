"""What would release a run from each thing it waits for, with the very command to type.

Pure: from what is known to sentences.
"""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from farandole.client.dead import OPEN, DeadLetter
from farandole.client.serving import Serving, nobody_serves
from farandole.client.waiting import Remedy, Wait, remedy

COMMANDS_MAX = 3
"""Dead letters of one step that are named one by one; beyond, one command is given for all."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What a person may do about one wait; `commands` are to be typed as they stand."""

    text: str
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known beside the run: its dead letters, who serves its agents, and how many coordinators run."""

    letters: tuple[DeadLetter, ...] = ()
    serving: Mapping[str, Serving] | None = None
    agents: Mapping[str, str] | None = None
    """Agent of each step."""

    coordinators: int | None = None
    """None: nobody looked, or may look."""


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
            return _of_error(run, first.text)
        case "coordinator":
            text = "what its agents answer is kept, but nothing is retried, joined or ended before one runs"
            return Advice(text, ("farandole coordinator run",))
        case "answered" if around.coordinators == 0:
            return Advice("")  # that none runs was said
        case "answered":
            return Advice("a coordinator takes it up by itself", ("farandole lag",))
        case "agent":
            return _of_agent((around.agents or {}).get(first.step, first.step), around.serving or {})
        case "retry":
            return Advice("the next attempt comes by itself")
        case "reports":
            return Advice("the run ends when it reports, or when its patience ends")
        case _:
            return Advice("")


def _of_error(run: str, error: str) -> Advice:
    cancel = f"farandole run cancel {run}"
    match remedy(error):
        case Remedy.APPLY:
            text = "apply the code again that the run was started with: it goes on by itself then; or end the run"
            return Advice(text, ("farandole apply PATH", cancel))
        case Remedy.RELEASE:
            text = "mend what the error names, then let it go on; or end the run"
            return Advice(text, (f"farandole run release {run}", cancel))
        case Remedy.RERUN:
            text = "a release would meet the same error: mend the pipeline, apply it, end this run and run it again"
            return Advice(text, ("farandole apply PATH", cancel, f"farandole run rerun {run}"))


def _of_agent(agent: str, serving: Mapping[str, Serving]) -> Advice:
    found = serving.get(agent)
    if found is None or found.processes:
        return Advice("its agent answers", (f"farandole lag --agent {agent}",))
    told = nobody_serves(agent, found.unit, found.without)
    start = "start it anew from code that has the agent" if found.without else "start one"
    return Advice(f"{told}: {start}", ("farandole agent run PATH",))


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
