"""A named claim about every transport."""

from collections.abc import Callable
from dataclasses import dataclass

from farandole.testing.conformance.kit import Kit


@dataclass(frozen=True, slots=True)
class Case:
    """One claim: `name` says it, `why` gives its reason, `run` raises `AssertionError` where it does not hold."""

    name: str
    why: str
    check: Callable[[Kit], None]

    def run(self, kit: Kit) -> None:
        """Check it with a kit of its own, which is closed afterwards."""
        with kit:
            self.check(kit)


def cases(*checks: Callable[[Kit], None]) -> tuple[Case, ...]:
    """Cases named after their functions, with their docstrings as reasons."""
    return tuple(Case(check.__name__, check.__doc__ or "", check) for check in checks)


def expect_error(kind: type[Exception], call: Callable[[], object]) -> Exception:
    """The error of this kind that the call raises.

    Raises:
        AssertionError: it raises none.
    """
    try:
        outcome = call()
    except kind as error:
        return error
    raise AssertionError(f"expected {kind.__name__}, but the call returned {outcome!r}")
