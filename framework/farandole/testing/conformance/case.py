"""A named claim about every transport."""

from collections.abc import Callable
from dataclasses import dataclass

from farandole.testing.conformance.kit import Kit


@dataclass(frozen=True, slots=True)
class Case:
    """One claim: `name` says it, `run` raises `AssertionError` where it does not hold."""

    name: str
    check: Callable[[Kit], None]

    def run(self, kit: Kit) -> None:
        """Check it with a kit of its own, which is closed afterwards."""
        with kit:
            self.check(kit)


def cases(*checks: Callable[[Kit], None]) -> tuple[Case, ...]:
    """Cases named after their functions."""
    return tuple(Case(check.__name__, check) for check in checks)
