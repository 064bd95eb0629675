"""Types that travel: their schemas, and values on their way there and back."""

import io
import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Annotated, Any, Dict, List, Literal, NewType, Optional  # noqa: UP035 - the old spellings are types of their own

import fastavro
import pydantic
import pytest
from dataclasses_avroschema import AvroModel
from hypothesis import given
from hypothesis import strategies as st

from farandole.definition.types import (
    ContractError,
    Member,
    from_plain,
    is_optional,
    is_record,
    record_text,
    schema_text,
    to_plain,
)
from farandole.errors import DefinitionError, RecordError

Sku = NewType("Sku", str)


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Plain(Enum):
    ONE = "one"


class Level(Enum):
    HIGH = 1


class Odd(StrEnum):
    HIGH_RISK = "high-risk"


@dataclass(frozen=True, slots=True)
class Line:
    sku: str
    price: float
    count: int = 1


@dataclass
class Basket:
    id: str
    lines: list[Line]
    first: Line | None
    tags: dict[str, bool] = field(default_factory=dict)
    note: Optional[str] = None  # noqa: UP045 - the old spelling is a type of its own
    shade: Colour = Colour.RED


@dataclass
class Everything:
    flag: bool
    number: int
    ratio: float
    text: str
    raw: bytes
    at: datetime
    day: date
    colour: Colour
    plain: Plain
    size: Literal["S", "M L"]
    sku: Sku
    some: Annotated[int, "metadata"]
    many: tuple[int, ...]
    nested: dict[str, list[Line | None]]


class Model(pydantic.BaseModel):
    total: Annotated[float, pydantic.Field(ge=0)]
    lines: list[Line] = []
    alias: str = pydantic.Field(default="x", alias="other")


@dataclass
class Tree:
    below: "list[Tree]"


@dataclass
class Empty:
    pass


class Positive:
    def __init__(self, n: int) -> None:
        self.n = n


@dataclass
class Checked:
    n: int

    def __post_init__(self) -> None:
        if self.n < 0:
            raise ValueError("n must not be negative")


@dataclass
class WithInit:
    n: int
    twice: int = field(init=False)


@dataclass(init=False)
class Parsed:
    n: int

    def __init__(self, raw: str) -> None:
        self.n = int(raw)


class Ids(pydantic.RootModel[list[int]]):
    pass


class Groups(pydantic.RootModel[dict[str, Ids]]):
    pass


class Painted(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(use_enum_values=True)
    colour: Colour


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    n: int


class Early(pydantic.BaseModel):
    late: "Late"


class Late(pydantic.BaseModel):
    n: int


class Dangling(pydantic.BaseModel):
    x: "Nowhere"  # type: ignore[name-defined]  # noqa: F821 - that is what is tested


WHOLE = Everything(
    flag=True,
    number=-(2**63),
    ratio=0.5,
    text="é",
    raw=b"\x00",
    at=datetime(2024, 1, 1, 12, tzinfo=timezone(timedelta(hours=2))),
    day=date(2024, 1, 1),
    colour=Colour.BLUE,
    plain=Plain.ONE,
    size="M L",
    sku=Sku("a"),
    some=1,
    many=(1, 2),
    nested={"a": [Line("s", 1.0), None]},
)


LATEST = datetime.max.replace(tzinfo=timezone(-timedelta(hours=5)))
"""In UTC it would be of the year 10000."""


def coded(schema: str, plain: object) -> object:
    """A plain value after Avro has written and read it."""
    parsed, buffer = fastavro.parse_schema(json.loads(schema)), io.BytesIO()
    fastavro.schemaless_writer(buffer, parsed, plain)
    buffer.seek(0)
    return fastavro.schemaless_reader(buffer, parsed, None)


@pytest.mark.parametrize(
    ("tp", "expected"),
    [
        (bool, "boolean"),
        (int, "long"),
        (float, "double"),
        (str, "string"),
        (bytes, "bytes"),
        (None, "null"),
        (datetime, {"type": "long", "logicalType": "timestamp-micros"}),
        (date, {"type": "int", "logicalType": "date"}),
        (list[int], {"type": "array", "items": "long"}),
        (tuple[str, ...], {"type": "array", "items": "string"}),
        (dict[str, float], {"type": "map", "values": "double"}),
        (int | None, ["null", "long"]),
        (Literal["a", "b"], "string"),
        (Colour, {"type": "enum", "name": "Colour", "symbols": ["red", "blue"]}),
        (Sku, "string"),
    ],
)
def test_schema_of_a_type_is_its_avro_counterpart(tp: object, expected: object) -> None:
    assert json.loads(schema_text(tp)) == expected


def test_schema_of_a_record_holds_defaults_and_names_a_type_once() -> None:
    schema = json.loads(schema_text(Basket))

    line = {"name": "Line", "type": "record"} | {
        "fields": [
            {"name": "sku", "type": "string"},
            {"name": "price", "type": "double"},
            {"name": "count", "type": "long", "default": 1},
        ]
    }
    assert schema["name"] == "Basket"
    assert schema["fields"] == [
        {"name": "id", "type": "string"},
        {"name": "lines", "type": {"type": "array", "items": line}},
        {"name": "first", "type": ["null", "Line"]},
        {"name": "tags", "type": {"type": "map", "values": "boolean"}, "default": {}},
        {"name": "note", "type": ["null", "string"], "default": None},
        {
            "name": "shade",
            "type": {"type": "enum", "name": "Colour", "symbols": ["red", "blue"]},
            "default": "red",
        },
    ]


def test_schema_text_is_canonical() -> None:
    text = schema_text(Everything)

    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert fastavro.parse_schema(json.loads(text))


def test_schema_agrees_with_dataclasses_avroschema_where_both_speak() -> None:
    @dataclass
    class Order(AvroModel):
        id: str
        total: float
        paid: bool
        at: date
        tags: list[str]
        note: str | None = None

    theirs = json.loads(Order.avro_schema())
    ours = json.loads(schema_text(Order))

    for mine, other in zip(ours["fields"], theirs["fields"], strict=True):
        assert mine["name"] == other["name"]
        if mine["name"] == "tags":
            assert other["type"].pop("name") == "tag"  # theirs names arrays, which Avro does not know
        assert mine["type"] == other["type"]


def test_schema_of_members_is_a_record_with_their_defaults() -> None:
    text = record_text("charge_input", [Member("order", Line), Member("rate", float, 0.5)])

    schema = json.loads(text)
    assert schema["name"] == "charge_input"
    assert schema["fields"][1] == {"name": "rate", "type": "double", "default": 0.5}


@pytest.mark.parametrize(
    ("tp", "claim"),
    [
        (Decimal, "type Decimal: expected one of bool"),
        (Any, "but found Any"),
        (object, "but found object"),
        (list, "but found list"),
        (dict[int, str], "dict keys of type int"),
        (int | str, "one type, or one type and None, but found int | str"),
        (Literal[1, "a"], "Literal of strings only, but found Literal[1]"),
        (Level, "Level with 1"),
        (Odd, "Odd with 'high-risk'"),
        (tuple[int, str], "tuple[T, ...]"),
        (Tree, "Tree.below[]: expected a type that does not contain itself"),
        (list[Empty], "expected items that take space"),
        (Positive, "but found Positive"),
        (WithInit, "type WithInit.twice: expected a field that the constructor takes"),
        (set[int], "but found set[int]"),
        (List, "type List: expected one of bool"),  # noqa: UP006
        (Dict, "type Dict: expected one of bool"),  # noqa: UP006
        (Parsed, "type Parsed: expected a dataclass whose constructor takes its fields by name"),
        (Dangling, "type Dangling: expected a model whose annotations can be evaluated, but found name 'Nowhere'"),
    ],
)
def test_type_that_cannot_travel_is_refused_with_its_place(tp: object, claim: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        schema_text(tp)

    assert claim in str(refused.value)


def test_class_that_is_called_as_the_record_of_all_parameters_is_to_be_renamed() -> None:
    """`@agent` let it pass, and the pipeline was told: `charge_input.x: expected each name defined once`."""

    @dataclass
    class charge_input:
        amount: int

    for members in ([Member("x", charge_input)], [Member("x", list[charge_input]), Member("y", int)]):
        with pytest.raises(DefinitionError, match=r"the record of all parameters has this one.*Rename the class"):
            record_text("charge_input", members)

    assert '"name":"charge_input"' in record_text("other_input", [Member("x", charge_input)])


def test_two_types_of_one_name_in_one_schema_are_refused() -> None:
    @dataclass
    class Line:
        other: int

    inner = Line

    with pytest.raises(DefinitionError, match="expected one type of the name 'Line'"):
        record_text("r", [Member("a", inner), Member("b", Basket)])


def test_value_survives_avro_and_comes_back_equal() -> None:
    plain = to_plain(WHOLE, Everything)

    back = from_plain(coded(schema_text(Everything), plain), Everything)

    assert back == WHOLE


def test_pydantic_model_travels_by_field_names_and_keeps_its_rules() -> None:
    model = Model(total=2, lines=[Line("a", 1.0)], other="y")

    plain = to_plain(model, Model)

    assert plain == {"total": 2.0, "lines": [{"sku": "a", "price": 1.0, "count": 1}], "alias": "y"}
    assert from_plain(plain, Model) == model
    with pytest.raises(RecordError, match=r"expected what Model accepts, but found ValidationError"):
        from_plain({"total": -1.0, "lines": [], "alias": "y"}, Model)


@pytest.mark.parametrize(
    ("value", "tp"),
    [
        (Ids([1, 2]), Ids),
        (Groups({"a": Ids([1])}), Groups),
        ({"x": Ids([])}, dict[str, Ids]),
        (Painted(colour=Colour.RED), Painted),
        (Open(n=1), Open),
        (Early(late=Late(n=1)), Early),
        ([1, 2], list[Annotated[int, {"unit": "ms"}]]),
        (1, Annotated[int, {"unit": "ms"}]),
    ],
    ids=repr,
)
def test_type_that_is_accepted_travels(value: object, tp: object) -> None:
    """Each of these was accepted when the agent was defined, or ended in a TypeError, and then failed every attempt.

    A RootModel was read from `{"root": ...}`; a model with `use_enum_values` holds texts, not members; annotations
    with a dict in them are no keys of a cache.
    """
    back = from_plain(coded(schema_text(tp), to_plain(value, tp)), tp)

    assert back == value


def test_model_is_complete_before_its_fields_are_read() -> None:
    """A model that names one defined after it was refused until somebody had made an instance of it."""

    class First(pydantic.BaseModel):
        second: "Second"

    class Second(pydantic.BaseModel):
        n: int

    globals()["Second"] = Second  # where pydantic looks for it, as if both stood at the top of the module
    try:
        assert '"name":"Second"' in schema_text(First)
    finally:
        del globals()["Second"]


@pytest.mark.parametrize(
    ("value", "tp", "path", "expected", "found"),
    [
        ("1", int, "", "int", "'1' (str)"),
        (True, int, "", "int", "True (bool)"),
        (2**63, int, "", "int of 64 bits", f"{2**63} (int)"),
        (1.0, int, "", "int", "1.0 (float)"),
        (1, bool, "", "bool", "1 (int)"),
        ("1", float, "", "float", "'1' (str)"),
        (b"x", str, "", "str", "b'x' (bytes)"),
        ("x", bytes, "", "bytes", "'x' (str)"),
        (None, Line, "", "Line", "None"),
        ("x", int | None, "", "int or None", "'x' (str)"),
        (datetime(2024, 1, 1), datetime, "", "datetime with a time zone", "datetime"),
        (datetime(2024, 1, 1, tzinfo=UTC), date, "", "date", "datetime"),
        ([1, "x"], list[int], "[1]", "int", "'x' (str)"),
        ((1,), list[int], "", "list", "(1,) (tuple)"),
        ({"a": {"b": None}}, dict[str, dict[str, int]], "['a']['b']", "int", "None"),
        ({1: 2}, dict[str, int], "", "str as key", "1 (int)"),
        ("green", Colour, "", "Colour", "'green' (str)"),
        ("XL", Literal["S", "M"], "", "one of 'S', 'M'", "'XL' (str)"),
        (Basket("1", [Line("a", 1.0), Line("b", None)], None), Basket, ".lines[1].price", "float", "None"),  # type: ignore[arg-type]
        ({"sku": "a", "price": 1.0}, Line, "", "Line", "{'sku': 'a', 'price': 1.0} (dict)"),
        ("x" * 1000, int, "", "int", "…"),
        (10**400, float, "", "float of 64 bits", "(int)"),
        (LATEST, datetime, "", "datetime of the years 1 to 9999 in UTC", "datetime"),
        (Open(n=1, more=2), Open, "", "the fields of Open", "'more' too"),
        ([Open(n=1, more=2)], list[Open], "[0]", "the fields of Open", "'more' too"),
    ],
)
def test_result_that_breaks_its_annotation_names_path_expectation_and_fact(
    value: object, tp: object, path: str, expected: str, found: str
) -> None:
    with pytest.raises(ContractError) as broken:
        to_plain(value, tp)

    assert (broken.value.path, broken.value.expected) == (path, expected)
    assert found in broken.value.found
    assert broken.value.reason == "contract"
    assert str(broken.value).startswith(f"result{path}: expected {expected}, but found ")


def test_value_of_a_wider_python_type_is_narrowed_as_avro_would() -> None:
    assert to_plain(1, float) == 1.0
    assert type(to_plain(Colour.RED, str)) is str
    assert to_plain(datetime(2024, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), datetime) == datetime(
        2024, 1, 1, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("plain", "tp", "claim"),
    [
        ("5", int, "input: expected int, but found '5' (str)"),
        ({"price": 1.0}, Line, "input: expected the field 'sku', but found nothing"),
        ({"sku": "a", "price": "1"}, Line, "input.price: expected float, but found '1' (str)"),
        ("green", Colour, "expected one of red, blue"),
        ({"n": -1}, Checked, "ValueError: n must not be negative"),
        ("XL", Literal["S"], "expected one of 'S'"),
        ([], Line, "expected Line, but found [] (list)"),
    ],
)
def test_plain_value_that_does_not_fit_is_refused_with_its_place(plain: object, tp: object, claim: str) -> None:
    with pytest.raises(RecordError) as refused:
        from_plain(plain, tp)

    assert claim in str(refused.value)
    assert not isinstance(refused.value, ContractError)


def test_plain_record_lacking_what_has_a_default_is_filled() -> None:
    assert from_plain({"sku": "a", "price": 1, "unknown": 3}, Line) == Line("a", 1.0, 1)
    assert from_plain({"id": "1", "lines": [], "first": None}, Basket).tags == {}  # type: ignore[attr-defined]


def test_kinds_of_types_are_told_apart() -> None:
    assert is_record(Line)
    assert is_record(Model)
    assert not is_record(Line | None)
    assert not is_record(list[Line])
    assert is_optional(Line | None)
    assert is_optional(None)
    assert not is_optional(Line)


_lines = st.builds(Line, st.text(), st.floats(allow_nan=False), st.integers(-(2**63), 2**63 - 1))


@given(
    st.builds(
        Basket,
        st.text(),
        st.lists(_lines, max_size=4),
        st.none() | _lines,
        st.dictionaries(st.text(), st.booleans()),
        st.none() | st.text(),
        st.sampled_from(Colour),
    )
)
def test_value_goes_there_and_back_through_avro_unchanged(basket: Basket) -> None:
    plain = to_plain(basket, Basket)

    assert from_plain(coded(schema_text(Basket), plain), Basket) == basket


def test_default_that_no_schema_holds_is_refused_with_those_that_one_holds() -> None:
    """It said that the default was none that a schema can hold; which ones are stood nowhere."""
    with pytest.raises(DefinitionError, match=r"or None for `T \| None`\), but found b'x'\. Default to None"):
        record_text("r", [Member("raw", bytes, b"x")])
