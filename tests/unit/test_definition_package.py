"""What the CEL package gives otherwise than CEL, and what an expression gives all the same.

The names of cases in brackets are those of the CEL specification's conformance tests.
"""

import threading
from datetime import UTC, datetime

import pytest

from farandole.definition.expressions import ExpressionError, compile_expression

SUMMER = "2026-03-29T01:30:00+02:00"
ROWS = [{"v": None}, {"v": 5}]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("timestamp(s).getHours()", 23),
        ("timestamp(s).getDate()", 28),
        ("timestamp(s).getDayOfWeek()", 6),
        (f'timestamp("{SUMMER}").getHours()', 23),
        ("[s].map(x, timestamp(x).getHours())", [23]),
        ("[timestamp(s)].exists(t, t.getDate() == 28 && t.getHours() == 23)", True),
        ('(timestamp(s) + duration("1h")).getHours()', 0),
        ("timestamp(timestamp(s)).getHours()", 23),
        ('timestamp(s) == timestamp("2026-03-28T23:30:00Z")', True),
        ("timestamp(s)", datetime(2026, 3, 28, 23, 30, tzinfo=UTC)),
    ],
)
def test_timestamp_that_was_read_with_an_offset_has_its_hours_and_days_in_utc(text: str, found: object) -> None:
    """The package kept the offset, and gave 1 o'clock of the 29th: a condition on the hour chose the wrong step."""
    assert compile_expression(text).evaluate({"s": SUMMER}) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("string(timestamp('2009-02-13T23:31:30Z'))", "2009-02-13T23:31:30Z"),  # [timestamps/toString_timestamp]
        ("string(timestamp(s))", "2026-03-28T23:30:00Z"),
        ("string(t)", "2026-03-28T23:30:00.120Z"),
        ("[t].map(x, string(x))", ["2026-03-28T23:30:00.120Z"]),
        ("string(timestamp('2026-01-01T00:00:00.000001Z'))", "2026-01-01T00:00:00.000001Z"),
        ("string(1.5) + string(-1) + string('+00:00')", "1.5-1+00:00"),
    ],
)
def test_text_of_a_timestamp_ends_with_z(text: str, found: object) -> None:
    """It ended with `+00:00`, or the offset that the timestamp had been read with."""
    at = datetime(2026, 3, 28, 23, 30, 0, 120_000, tzinfo=UTC)

    assert compile_expression(text).evaluate({"s": SUMMER, "t": at}) == found


@pytest.mark.parametrize("text", ["{}", "{}.getFullYear()", "string({})", "[{}]"])
def test_timestamp_beyond_the_years_of_cel_has_neither_value_nor_parts(text: str) -> None:
    with pytest.raises(ExpressionError, match="out of range"):
        compile_expression(text.format('timestamp("0001-01-01T00:00:00+05:00")')).evaluate({})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('timestamp(s) == timestamp("2026-01-01T00:00:00.1234567Z")', True),
        ("timestamp(s) > timestamp(t)", True),
        ("timestamp(s) == timestamp(t)", False),
        ('timestamp("2026-01-01T02:00:00.1234567+02:00") == timestamp(s)', True),
    ],
)
def test_instants_finer_than_a_microsecond_are_compared_in_full(text: str, found: bool) -> None:
    """Turned to UTC on the way, they lost what .NET writes in seven digits, but for texts that ended with `Z`."""
    given = {"s": "2026-01-01T00:00:00.1234567Z", "t": "2026-01-01T00:00:00.1234561Z"}

    assert compile_expression(text).evaluate(given) is found


def test_what_has_no_value_is_told_once_and_logged_by_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """The package logged a warning for each entry whose function raised: ten thousand from a hundred texts."""
    text = "xs.exists(x, xs.exists(y, timestamp(y).getFullYear() > 2000 || -n > 0))"

    with pytest.raises(ExpressionError, match="out of range"):
        compile_expression(text).evaluate({"xs": ["0001-01-01T00:00:00+05:00"] * 20, "n": -(2**63)})

    assert not caplog.records


def test_calls_of_ours_count_as_work() -> None:
    """A thousand signs in each of a million rounds were five minutes of a coordinator."""
    text = "xs.all(x, xs.all(y, [" + ", ".join(["-y"] * 40) + "] != []))"

    with pytest.raises(ExpressionError, match="values to be copied"):
        compile_expression(text).evaluate({"xs": list(range(1000))})


@pytest.mark.parametrize("text", ["-n", "-(-n)", "---n", "-(-9223372036854775808)", "[n].map(x, -x)"])
def test_negation_of_the_least_int_is_an_overflow(text: str) -> None:
    """The package gave the least int again, without a word. [integer_math/int64_min_negate]"""
    said = r": expected an integer of 64 bits, but found 9223372036854775808\Z"
    with pytest.raises(ExpressionError, match=said):
        compile_expression(text).evaluate({"n": -(2**63)})


def test_negation_of_anything_else_is_what_it_was() -> None:
    values: dict[str, object] = {"n": 3, "d": 2.5, "least": -(2.0**63)}

    found = compile_expression("[-n, ---n, -(-n), -(n - 5)]").evaluate(values)

    assert found == [-3, -3, 3, 2]
    assert compile_expression("[-d, -least, -(-d)]").evaluate(values) == [-2.5, 2.0**63, 2.5]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("rows.exists(r, r.v > 3)", True),
        ("rows.all(r, r.v > 7)", False),
        ("!rows.all(r, r.v > 7) && rows.exists(r, r.v == 5)", True),
        ("[rows, rows].all(q, q.exists(r, r.v > 3))", True),
        ("[rows, [rows[1]]].map(q, q.exists(r, -r.v < -3))", [True, True]),
        ("[rows, rows].filter(q, q.all(r, r.v > 9))", []),
        ("rows.all(r, r.v > 3) || rows.exists(r, r.v == 5)", True),
        ("rows.all(r, r.v > 3) ? 1 : 2", None),
        ("rows.exists(r, r.v > 7)", None),
        ("rows.all(r, r.v > 3)", None),
        ("rows.exists_one(r, r.v > 3)", None),
        ("rows[0].v.exists(r, true)", None),
        ("[1].all(x, 1 / 0 == x) || rows[1].v > 3", True),
    ],
)
def test_entry_that_decides_makes_up_for_errors_of_others(text: str, found: object) -> None:
    """The package stopped at the first error, so an order without a price held a run whose condition another one met.

    Source: the CEL specification, "Macros": `exists` and `all` ignore errors of other predicates. None: still an error.
    """
    if found is not None:
        assert compile_expression(text).evaluate({"rows": ROWS}) == found
        return
    with pytest.raises(ExpressionError, match=r"No such overload"):
        compile_expression(text).evaluate({"rows": ROWS})


def test_exists_and_all_count_the_entries_of_each_round_anew() -> None:
    rows = [[{"v": None}], [{"v": None}, {"v": 5}], [], [{"v": 1}]]
    nested = "lists.filter(q, size(q) == 0 || q.exists(r, r.v > 3) || q.all(r, r.v < 3))"

    found = compile_expression(nested).evaluate({"lists": rows[1:]})

    assert found == rows[1:]
    with pytest.raises(ExpressionError, match="No such overload"):
        compile_expression(nested).evaluate({"lists": rows})


@pytest.mark.parametrize(
    "text",
    [
        "-(1 - " * 23 + "a" + ")" * 23,
        "-" * 100 + "a",
        "timestamp(string(" * 11 + "t" + "))" * 11 + " == t",
        " || ".join(["rows.exists(r, r.v > 9)"] * 8),
        "size(rows.map(q, rows.exists(r, r.v > 3)))",
        "(" * 20 + "rows.exists(r, rows.all(q, q.v > 3 || r.v > 3))" + ")" * 20,
    ],
)
def test_expression_at_its_bounds_is_survived_on_a_small_stack_with_what_we_add(text: str) -> None:
    found: list[object] = []
    values = {"a": 1, "t": datetime(2026, 1, 1, tzinfo=UTC), "rows": ROWS}

    def work() -> None:
        try:
            found.append(compile_expression(text).evaluate(values))
        except ExpressionError as bad:
            found.append(bad)

    before = threading.stack_size(512 * 1024)  # as macOS gives to threads
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)

    assert len(found) == 1
