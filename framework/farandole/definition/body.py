"""The pipeline body that is being read right now, if any.

The one place that knows it, so that calling an agent finds the builder without importing it.
"""

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from farandole.definition.options import StepOptions

if TYPE_CHECKING:
    from farandole.definition.spec import AgentSpec


@dataclass(frozen=True, slots=True)
class Call:
    """One use of an agent in a body; `items` is what it is mapped over, if it is."""

    spec: "AgentSpec"
    options: StepOptions
    when: object
    after: tuple[object, ...]
    given: Sequence[object]
    named: Mapping[str, object]
    items: object = None
    is_mapped: bool = False


class Body(Protocol):
    """What collects the calls."""

    def call(self, call: Call) -> object:
        """Add a step; gives the reference to its output."""
        ...


reading: ContextVar[Body | None] = ContextVar("farandole_body", default=None)
"""The body being read; None outside a pipeline."""
