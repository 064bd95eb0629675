"""Types by the names that YAML gives them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, NewType

import pytest

from farandole.definition.type_names import type_of
from farandole.definition.types import schema_text
from farandole.errors import DefinitionError


@dataclass
class Order:
    """A class of an agents' module."""

    id: str


Mode = Literal["dry", "real"]
OrderId = NewType("OrderId", str)

MODULE: Mapping[str, object] = {
    "Order": Order,
    "Mode": Mode,
    "OrderId": OrderId,
    "Count": Annotated[int, "at least 1"],
    "Names": list[str],
    "Maybe": int | None,
    "Annotated": Annotated,
    "NewType": NewType,
    "Literal": Literal,
    "Mapping": Mapping,
    "_Hidden": Order,
    "LIMIT": 7,
    "TEXT": "int",
    "NOTHING": None,
    "handler": print,
}
"""What the namespace of a module holds: types, aliases, imports of typing, and values."""


@pytest.mark.parametrize(
    ("text", "tp"),
    [
        ("Order", Order),
        ("Mode", Mode),
        ("OrderId", OrderId),
        ("Count", Annotated[int, "at least 1"]),
        ("Names", list[str]),
        ("Maybe", int | None),
        ("Mode | None", Mode | None),
        ("OrderId | None", OrderId | None),
        ("list[Mode]", list[Mode]),
        ("dict[str, Names]", dict[str, list[str]]),
        ("tuple[int, ...]", tuple[int, ...]),
        ("tuple[Order | None, ...]", tuple[Order | None, ...]),
    ],
)
def test_name_of_an_alias_is_as_good_as_that_of_a_class(text: str, tp: object) -> None:
    """Only classes were looked for, though `Literal`, `NewType`, `Annotated` and aliases are said to travel, and types
    to come from the agents' modules."""
    assert type_of(text, MODULE) == tp
    assert schema_text(type_of(text, MODULE)) == schema_text(tp)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Oder", "expected the type 'Order', but found 'Oder'"),
        (
            "zzz",
            "expected one of the types Count, Maybe, Mode, Names, Order, OrderId, bool, int, float, str, bytes, "
            "datetime, date, but found 'zzz'",
        ),
        ("LIMIT", "but found 'LIMIT'"),
        ("TEXT", "but found 'TEXT'"),
        ("NOTHING", "but found 'NOTHING'"),
        ("handler", "but found 'handler'"),
        ("Literal", "but found 'Literal'"),
        ("NewType", "type NewType: expected one of bool"),
        ("tuple[int]", "expected a type such as Order, list[Order] or int | None, but found 'tuple[int]'"),
        ("tuple[int, str]", "but found 'tuple[int, str]'"),
        ("int | str", "but found 'int | str'"),
    ],
)
def test_name_of_no_type_that_travels_is_refused_and_none_is_offered(text: str, told: str) -> None:
    """The message offered what the module imports from typing: `one of the types Annotated, NewType, bool, …`."""
    with pytest.raises(DefinitionError) as refused:
        type_of(text, MODULE)

    assert told in str(refused.value)
