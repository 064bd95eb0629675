"""Expressions: what they read, what they give, and what is refused before it can hurt."""

import json
import math
import re
import subprocess
import sys
import threading
from datetime import UTC, datetime

import cel
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from farandole.definition.cel_parser import FUNCTIONS, METHODS, PRECEDENCE, parse
from farandole.definition.cel_text import written
from farandole.definition.cel_tokens import SyntaxProblem
from farandole.definition.cel_types import TypeProblem, expression_type
from farandole.definition.expressions import ExpressionError, compile_expression
from farandole.definition.value_types import value_type

VALUES = {
    "a": {"n": 7, "d": 2.5, "s": "text", "ok": True, "none": None, "list": [1, 2, 3], "map": {"k": 4}},
    "params": {"order": {"total": 1200, "lines": [{"sku": "x", "n": 2}, {"sku": "y", "n": 0}]}},
    "when": datetime(2024, 2, 29, tzinfo=UTC),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", VALUES["a"]),
        ("a.n", 7),
        ("params.order.lines", [{"sku": "x", "n": 2}, {"sku": "y", "n": 0}]),
        ("a.n + 1", 8),
        ("a.n / 2", 3),
        ("a.d * 2.0", 5.0),
        ("a.n > 5 && a.ok", True),
        ("!(a.n > 5) || a.s == 'text'", True),
        ("a.none == null", True),
        ("has(a.missing)", False),
        ("has(a.n) ? a.n : 0", 7),
        ("a.list[1]", 2),
        ("a.map['k']", 4),
        ("2 in a.list", True),
        ("size(a.list) + a.list.size()", 6),
        ("params.order.lines.exists(l, l.n == 0)", True),
        ("params.order.lines.filter(l, l.n > 0).map(l, l.sku)", ["x"]),
        ("params.order.lines.all(l, l.n >= 0)", True),
        ("when < timestamp('2024-03-01T00:00:00Z')", True),
        ("when.getFullYear()", 2024),
        ('{"n": a.n, "list": [a.d, 1.0]}', {"n": 7, "list": [2.5, 1.0]}),
        ("-a.n", -7),
        ("-9223372036854775808", -(2**63)),
        (r"'it\'s é' + r'\n' + \"\"\"q\"\"\"".replace('\\"', '"'), "it's é\\nq"),
    ],
)
def test_expression_over_plain_values_gives_its_value(text: str, expected: object) -> None:
    found = compile_expression(text).evaluate(VALUES)

    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "roots", "paths"),
    [
        ("validate", {"validate"}, {("validate",)}),
        ("params.order.total", {"params"}, {("params", "order")}),
        ("validate.total > 1000", {"validate"}, {("validate", "total")}),
        ("a.x + b.y * params.n", {"a", "b", "params"}, {("a", "x"), ("b", "y"), ("params", "n")}),
        ("'a.b' + \"c // d\" + e // f", {"e"}, {("e",)}),
        ("xs.exists(x, x.n > y.n)", {"xs", "y"}, {("xs",), ("y", "n")}),
        ("xs.map(x, x.ys.filter(y, y > x.n))", {"xs"}, {("xs",)}),
        ("x.all(x, x > 1)", {"x"}, {("x",)}),
        ("has(a.b.c) && size(d.e) > 0", {"a", "d"}, {("a", "b"), ("d", "e")}),
        ("a.b['k'].c + a.list[i]", {"a", "i"}, {("a", "b"), ("a", "list"), ("i",)}),
        ("true && null == false", set(), set()),
        ('{"k": a.b}', {"a"}, {("a", "b")}),
        ("a.startsWith(b) ? c : d", {"a", "b", "c", "d"}, {("a",), ("b",), ("c",), ("d",)}),
    ],
)
def test_expression_roots_are_its_free_names_alone(text: str, roots: set[str], paths: set[tuple[str, ...]]) -> None:
    found = compile_expression(text)

    assert found.roots == roots
    assert found.paths == paths


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("", "expected a value, but found the end"),
        ("a +", "expected a value, but found the end"),
        ("a b", "expected the end of the expression, but found 'b'"),
        ("a.b(", "expected a method"),
        ("nope(1)", "expected a function"),
        ("'open", "expected the end of the string"),
        ("a @ b", "unexpected character '@'"),
        ("9223372036854775808", "expected an integer of 64 bits"),
        ("1u", "expected a number, but found '1u'"),
        ("b'x'", "bytes are not a type of expressions"),
        ("xs.exists(item, item > 1)", "reserved 'item'"),
        ("has(a)", "expected has(value.field)"),
        ("import + 1", "'import' is a reserved word"),
        ("{1: 2}", "expected a string that is new as key"),
        ("'\\q'", "unknown escape"),
        ("a" * 4097, "expected at most 4,096 characters"),
        ("(" * 30 + "1" + ")" * 30, "levels of nesting"),
        ("+".join(["1"] * 200), "operations in a chain"),
        ("x.map(a, x.map(b, x.map(c, c)))", "macros inside each other"),
        ("[" + ",".join(["1"] * 1001) + "]", "expected at most 1,000 items"),
    ],
)
def test_expression_that_is_wrong_or_out_of_bounds_is_refused_before_cel_sees_it(text: str, claim: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        compile_expression(text)

    assert claim in str(refused.value)
    assert refused.value.expression == text
    assert refused.value.reason == "expression"


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("gone", "'gone' has no value"),
        ("a.gone", "'a.gone' has no value"),
        ("a.none.x", "expected a record at 'a.none'"),
        ("a.n + a.d", "No such overload"),
        ("a.n / 0", "division by zero"),
        ("9223372036854775807 + a.n", "overflow"),
        ("gone.x > 1", "'gone' has no value"),
        ("duration('1h')", "no value of ours"),
    ],
)
def test_expression_that_has_no_value_names_itself_and_the_cause(text: str, claim: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        compile_expression(text).evaluate(VALUES)

    assert claim in str(refused.value)
    assert text in str(refused.value)


TYPED: dict[str, object] = {"i": "long", "d": "double", "s": "string", "b": "boolean", "none": ["null", "long"]}
TYPED |= {
    "t": {"type": "long", "logicalType": "timestamp-micros"},
    "l": {"type": "array", "items": "long"},
    "m": {"type": "map", "values": "long"},
}
TYPED_VALUES = {"i": 3, "d": 2.5, "s": "1", "b": True, "none": 5, "l": [1, 2], "m": {"k": 1}}
TYPED_VALUES |= {"t": datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)}
ATOMS = [*(f"p.{name}" for name in TYPED), '"A"', "[]", "null", 'duration("5s")', 'timestamp("2024-05-06T07:08:09Z")']


def test_operation_that_is_checked_for_its_types_is_one_that_the_package_has() -> None:
    """Time zones, `int` of a timestamp, `string` of a bool and more passed `check`, and held each run."""
    fields = [{"name": name, "type": kind} for name, kind in TYPED.items()]
    types = {"p": value_type(json.dumps({"type": "record", "name": "P", "fields": fields}))}
    texts = [f"{a} {operator} {b}" for a in ATOMS for operator in (*PRECEDENCE, "-") for b in ATOMS]
    texts += [f"{operator}({a})" for operator in "-!" for a in ATOMS]
    texts += [f"{name}({a})" for name in FUNCTIONS for a in ATOMS]
    texts += [f"{a}.{name}({given})" for name in METHODS for a in ATOMS for given in ("", '"A"', '"UTC"')]
    lacking: list[str] = []
    counted = 0
    for text in texts:
        try:
            expression = compile_expression(text)
            expression_type(expression.node, types)
        except (ExpressionError, TypeProblem):
            continue
        counted += 1
        try:
            expression.evaluate({"p": TYPED_VALUES})
        except ExpressionError as bad:
            lacking += [text] if re.search("Undefined|Unsupported|No such overload", str(bad)) else []

    assert (lacking, counted > 200) == ([], True)


@pytest.mark.parametrize("text", ["a.n < 0.5", "a.n * 2.0 >= 1.0", "a.ns.exists(n, n > 1.0)"])
def test_comparison_with_a_double_that_is_no_number_says_so(text: str) -> None:
    """It said that the types did not fit, and named conversions that would have changed nothing."""
    with pytest.raises(ExpressionError, match="NaN cannot be compared with < <= > >="):
        compile_expression(text).evaluate({"a": {"n": math.nan, "ns": [0.0, math.nan]}})

    assert compile_expression("a.n == a.n && a.n < 0.5").evaluate({"a": {"n": math.nan}}) is False


def test_expression_that_gives_a_map_gives_it_in_one_order() -> None:
    text = "{" + ", ".join(f'"k{n}": [{{"b": a, "a": a}}]' for n in reversed(range(10))) + "}"

    found = compile_expression(text).evaluate({"a": 1})

    assert list(found) == [f"k{n}" for n in range(10)]  # type: ignore[call-overload]
    assert json.dumps(found) == json.dumps(found, sort_keys=True)


def test_expression_of_a_plain_path_does_not_import_cel() -> None:
    code = (
        "import sys; from farandole.definition.expressions import compile_expression as c;"
        "assert c('a.b').evaluate({'a': {'b': 1}}) == 1; c('a.b > 1'); assert 'cel' not in sys.modules"
    )

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stderr


def test_expression_hands_to_cel_only_what_it_reads() -> None:
    text, odd = "a.n > 1 && has(a.inner.x)", object()

    assert compile_expression(text).evaluate({"a": {"n": 2, "odd": odd, "inner": {"x": 1, "odd": odd}}}) is True


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("a.filter(i, i >= 0)", 1000),
        ("size(a.map(i, i + i)) > b", 1000),
        ("a.all(i, a.exists(j, j == i))", 1000),
        ("(a + a).filter(i, i >= 0)", 500),
        ("a.filter(i, i + i >= 0).map(i, i + 1)", 1000),
        ("(size(a) + b > 0 ? a : [a[b + 1]]).all(i, i >= 0)", 1000),
        ("size(a) == 0 ? [[0]] : a.map(i, a.filter(j, j < 0))", 100),
        (f"({' + '.join(['a'] * 101)}).map(i, a.filter(j, j < 0))", 1),
    ],
)
def test_expression_that_goes_through_a_list_does_so_up_to_a_bound(text: str, most: int) -> None:
    """The package copies what it kept for each entry that it keeps: of 70,000 entries no process ever came back.

    Sums of lists share the bound. Those of numbers in an earlier macro did so too, and a hundred of them left nothing.
    """
    expression = compile_expression(text)

    expression.evaluate({"a": list(range(most)), "b": 1})

    with pytest.raises(ExpressionError, match=f"at most {most:,} entries, but found one of {most + 1:,}"):
        expression.evaluate({"a": list(range(most + 1)), "b": 1})


def test_expression_looks_for_long_lists_in_all_that_it_goes_through_and_nowhere_else() -> None:
    row: dict[str, object] = {"ids": [1] * 1001, "n": 1}
    env = {"a": {"rows": [row], "all": [1] * 2000, "map": {str(n): n for n in range(1001)}}}

    assert compile_expression("a.all[0] + size(a.all)").evaluate(env) == 2001
    for text in ("a.rows.exists(r, r.n == 1)", "a.rows.exists(r, r.n in a.map)"):
        with pytest.raises(ExpressionError, match="but found one of 1,001"):
            compile_expression(text).evaluate(env)
    row["ids"] = []
    assert compile_expression("a.rows.exists(r, r.n == 1)").evaluate(env) is True


def orders(count: int, lines: int) -> list[object]:
    """Records that hold lists of records: each of 4 values, and 4 more with each line."""
    line = {"sku": "x", "n": 1, "price": 1.5}
    return [{"id": f"o{n}", "n": n + 1, "lines": [line] * lines} for n in range(count)]


@pytest.mark.parametrize(
    "text",
    [
        "a.filter(o, o.n > 0)",
        "a.filter(o, o.n > 0).map(o, o.id)",
        "a.map(o, o.lines)",
        "a.map(o, o.n > 0, {'o': o})",
        "(params.b ? a : []).filter(o, o.n > 0)",
        "{'a': a}.a.map(o, o)",
        "ns.map(n, ns + ns + ns + ns)",
        "ns.all(n, size(params.a) > 0)",
        "ns.all(n, size(a + a) > 0)",
        "few.map(n, params.few.filter(o, o.n > 0)[n])",
        "few.exists(n, size([params.few][0].filter(o, o.n > n)) > 0)",
        "texts.map(t, t)",
    ],
)
def test_expression_that_would_copy_for_long_is_refused_before_it_begins(text: str) -> None:
    """The story: the bound on lists held for small entries alone. A `filter` over 1,000 orders of 20 lines took 14 s, a
    sum of lists in a `map` minutes. No other thread of the coordinator or agent ran meanwhile, and each attempt did so.
    """
    a = orders(600, 20)
    env: dict[str, object] = {"a": a, "ns": list(range(1000)), "few": list(range(100)), "texts": ["x" * 50_000] * 600}
    env["params"] = {"a": a, "few": a[:100], "b": True}

    with pytest.raises(ExpressionError, match="expected at most 5,000,000 values to be copied on the way"):
        compile_expression(text).evaluate(env)


@pytest.mark.parametrize(
    "text",
    [
        "params.a.exists(p, params.b.exists(r, params.text.contains(p + r)))",
        "params.a.exists(p, params.b.exists(r, text.contains(p + r)))",
        "params.a.exists(p, params.b.exists(r, rows[0].text == p + r))",
        "params.a.exists(p, params.b.exists(r, texts[0].startsWith(p + r)))",
        "params.a.all(p, params.b.all(r, '<' + string(text) + '>' != p))",
        "params.a.map(p, text + p).exists(t, params.b.exists(r, t.contains(r)))",
        "params.a.map(p, string(text))",
    ],
)
def test_expression_that_reads_a_large_text_in_each_round_is_refused(text: str) -> None:
    """The story: 1,000 times 1,000 looks into a text of 900 kB ran for a minute, with all other threads at a stand."""
    large = "x" * 900_000
    params = {"a": [f"a{n}" for n in range(200)], "b": [f"b{n}" for n in range(200)], "text": large}

    with pytest.raises(ExpressionError, match=r"it may be .*, or for the texts that are read with each"):
        compile_expression(text).evaluate(
            {"params": params, "text": large, "rows": [{"text": large}], "texts": [large]}
        )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("params.a.exists(p, params.text.contains(p) || params.text.endsWith(p))", True),
        ("params.a.all(p, params.b.all(r, params.id != p + r && size(params.id) < 1000))", True),
        (
            "params.a.all(p, rows[0].n == 1 && rows[1].n == 1 && rows[2].n == 1 && rows[3].n == 1 && rows[4].n == 1)",
            True,
        ),
        ("size(rows.map(r, r.text + params.id))", 1000),
    ],
)
def test_expression_that_reads_texts_within_reason_has_its_value(text: str, found: object) -> None:
    names = [f"a{n}" for n in range(1000)]
    params = {"a": names, "b": names[:100], "text": "x" * 900_000 + "a7", "id": "x" * 999}
    rows = [{"n": 1, "text": "x" * 1000}] * 1000

    assert compile_expression(text).evaluate({"params": params, "rows": rows}) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a.map(o, o.n)", list(range(1, 301))),
        ("size(a.filter(o, o.n > 100))", 200),
        ("a.all(o, o.lines.all(l, l.n == 1))", True),
        ("size(a.map(o, o.lines.map(l, {'id': params.id, 'sku': l.sku}))[7])", 20),
    ],
)
def test_expression_that_keeps_little_of_large_entries_has_its_value(text: str, found: object) -> None:
    a = orders(100 if "l.sku" in text else 300, 20)

    assert compile_expression(text).evaluate({"a": a, "params": {"id": "p"}}) == found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a.n>1000", "a.n   > 1_000".replace("_", "")),
        ("(a + (b * c))", "a + b * c"),
        ("'x'", '"x"'),
        ("a ? (b) : (c ? d : e)", "a ? b : (c ? d : e)"),
        ('{"b": 1, "a": 2}', "{'a':2,'b':1,}"),
        ("0x10", "16"),
    ],
)
def test_expression_spelled_differently_has_one_canonical_text(one: str, other: str) -> None:
    assert compile_expression(one).canonical == compile_expression(other).canonical


def test_expression_renamed_changes_free_names_alone() -> None:
    text = "day.n > 1 && xs.exists(day, day > 1) && 'day' == day.day"

    renamed = compile_expression(text).renamed("day", "item")

    assert renamed == 'item.n > 1 && xs.exists(day, day > 1) && "day" == item.day'


@pytest.mark.parametrize(
    "text",
    [
        "+".join(["a"] * 127),
        "(" * 23 + "a" + ")" * 23,
        "true ? " * 0 + "a == 1 ? 1 : (" * 10 + "2" + ")" * 10,
        "[" * 20 + "a" + "]" * 20,
        "!" * 100 + "(a == 1)",
        " || ".join(["a == 2"] * 100),
    ],
)
def test_expression_at_its_bounds_is_survived_on_a_small_stack(text: str) -> None:
    found: list[object] = []
    expression = compile_expression(text)
    # macOS gives threads 512 KiB; the package overflows the stack of deep expressions.
    before = threading.stack_size(512 * 1024)
    try:
        thread = threading.Thread(target=lambda: found.append(expression.evaluate({"a": 1})))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)

    assert len(found) == 1


def test_expression_is_evaluated_by_many_threads_at_once() -> None:
    expression, found = compile_expression("a.n * 2 > 5"), []

    def work() -> None:
        found.append(all(expression.evaluate({"a": {"n": n}}) == (n * 2 > 5) for n in range(200)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [True] * 4


_leaves = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["a", "a.n", "a.list", "true", "null", "'x\\n'", '"\\u00e9\\""', "r'\\d'"]),
)


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = ["+", "-", "*", "/", "%", "<", "<=", ">", ">=", "==", "!=", "&&", "||", "in"]
    return st.one_of(
        st.tuples(inner, st.sampled_from(operators), inner).map(lambda t: f"{t[0]} {t[1]} {t[2]}"),
        inner.map(lambda x: f"({x})"),
        inner.map(lambda x: f"!({x})"),
        inner.map(lambda x: f"-({x})"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]}) ? {t[1]} : ({t[2]})"),
        st.lists(inner, max_size=3).map(lambda xs: f"[{', '.join(xs)}]"),
        st.tuples(inner, inner).map(lambda t: f"[{t[0]}].map(v, v == {t[1]})"),
        inner.map(lambda x: f"size([{x}])"),
        inner.map(lambda x: f'{{"k": {x}}}.k'),
    )


def _outcome(text: str) -> tuple[str, str]:
    try:
        return "value", json.dumps(cel.evaluate(text, dict(VALUES)), sort_keys=True, default=str)
    except (ArithmeticError, TypeError, ValueError, RuntimeError, LookupError) as refused:
        return "refused", type(refused).__name__


def test_choice_between_question_mark_and_colon_needs_its_parentheses() -> None:
    """We took `a ? b ? c : d : e`, which CEL does not: `check` passed, and every run failed. Found by hypothesis."""
    with pytest.raises(SyntaxProblem):
        parse("a ? b ? 1 : 2 : 3")

    assert written(parse("a ? (b ? 1 : 2) : c ? 3 : 4")) == "a ? (b ? 1 : 2) : (c ? 3 : 4)"


@given(st.recursive(_leaves, _grown, max_leaves=8))
def test_expression_that_we_read_is_read_alike_by_cel(text: str) -> None:
    try:
        tree = parse(text)
    except SyntaxProblem as refused:
        assume("inside each other" not in refused.message and "between ! and -" not in refused.message)
        assert _outcome(text) == ("refused", "ValueError")  # what the grammar does not read, neither do we
        return
    canonical = written(tree)

    assert written(parse(canonical)) == canonical
    assert _outcome(canonical) == _outcome(text)


def test_expression_with_a_bare_choice_in_the_first_branch_is_refused_as_cel_does() -> None:
    """We read `a ? b ? c : d : e`, which the grammar does not: what was checked was not what was evaluated."""
    with pytest.raises(SyntaxProblem):
        parse("true ? true ? 1 : 2 : 3")

    assert written(parse("true ? (true ? 1 : 2) : 3")) == "true ? (true ? 1 : 2) : 3"
    assert written(parse("true ? 1 : false ? 2 : 3")) == "true ? 1 : (false ? 2 : 3)"
