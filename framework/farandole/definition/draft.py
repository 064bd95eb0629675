"""A pipeline as a front end read it: names, expressions and the places they stand at, unchecked."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from farandole.definition.options import StepOptions
from farandole.definition.shapes import MISSING
from farandole.definition.spec import AgentSpec, Parameter


@dataclass(frozen=True, slots=True)
class Given:
    """An expression (or a step's name) with its place, `file:line`."""

    text: str
    place: str


@dataclass(frozen=True, slots=True)
class StepDraft:
    """One step. `over` is what it is mapped over, and `item_name` how its expressions call an item."""

    name: str
    spec: AgentSpec
    inputs: dict[str, Given]
    place: str
    when: Given | None = None
    over: Given | None = None
    item_name: str = "item"
    after: tuple[Given, ...] = ()
    options: StepOptions = field(default_factory=StepOptions)


@dataclass(frozen=True, slots=True)
class Draft:
    """One pipeline. `declared` is the annotated result, `MISSING` where the front end has none."""

    name: str
    place: str
    params: Sequence[Parameter]
    steps: Sequence[StepDraft]
    output: Given | None
    declared: object = MISSING
    deadline: timedelta | None = None
    hold_max: timedelta | None = None
    stop_max: timedelta | None = None
    owner: str = ""
    tags: tuple[str, ...] = ()
    description: str = ""
