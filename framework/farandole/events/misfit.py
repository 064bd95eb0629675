"""A value that does not fit its schema, and where inside it.

Raised at the leaf; each container on the way out puts its own step in front of the path,
so that nothing is paid for paths while values fit. Never leaves `events`.
"""

from decimal import Decimal

SHOWN_MAX = 60
"""Characters of a wrong value that a message shows: enough to recognise it, never a payload in a log."""


class Misfit(Exception):  # noqa: N818 - internal; becomes a RecordError at the edge
    """`expected` and `found` complete the sentence that `told` makes of them."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(expected, found)
        self.expected = expected
        self.found = found
        self.path = ""

    def under(self, step: str) -> "Misfit":
        """The same misfit seen from one container further out; `step` is `.field`, `[3]` or `["key"]`."""
        self.path = step + self.path
        return self

    def told(self, root: str) -> str:
        """Place, expectation, fact; the consequence is the caller's to add."""
        return f"{root}{self.path}: expected {self.expected}, but found {self.found}"


def misfit(expected: str, value: object) -> Misfit:
    """A misfit that shows the value that was found, shortened."""
    return Misfit(expected, shown(value))


def missing(record: str, strange: str) -> Misfit:
    """A field that must be there and is not. `strange`: keys of no field, one of which may be it, misspelt."""
    hint = f"; {record} has no field {strange}" if strange else ""
    return Misfit("a value, for there is no default", f"none{hint}")


def shown(value: object, kind: str = "") -> str:
    """A wrong value with its type, or with `kind`, shortened; Python spells no integer of more than 4,300 digits."""
    if value is None:
        return "null"
    kind = kind or type(value).__name__
    try:
        text = str(value) if isinstance(value, Decimal) else repr(value)
    except Exception as broken:
        return f"{kind} whose repr raises {type(broken).__name__}"
    return f"{kind} {text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + '…'}"
