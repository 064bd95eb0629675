"""Texts of authors and operators: pipelines, expressions, compiled definitions, names, settings, command lines."""

import json
from collections.abc import Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from farandole.definition.loading import load_unit
from farandole.testing.fuzz import Answer

Fine = Callable[[str, bytes], Answer]
Cases = Callable[[int], settings]

REPOSITORY = Path(__file__).parents[2]

EXPRESSIONS = [
    "params.order.total > 3",
    "check.total",
    "1",
    "true",
    "'x'",
    "a ? b : c",
    "[1].all(x, x > 0)",
    "${x}",
    "",
]
PIPELINE = """\
pipeline: p
owner: o@example.org
deadline: 10m
params: {order: Order}
steps:
  check: {with: {order: "${params.order}"}, retry: {attempts: 3, base: 1s}}
  label: {when: "check.total > 3", with: {order: "${check}"}, timeout: 10s, join: all_done, on_dead_letter: skip}
output: "${label}"
"""
ODD = [
    "NO", "12:30:45", "010", "0x1F", "1e999", "~", "null", "!!python/object:os.system x", "&a [*a]", "*a", "<<: *a",
    "? [a]\n: b", "- - - -", "'", '"\\u0000"', "\t", "---\n---", "%TAG", "{a: 1, a: 2}", "\u202e", "pipeline: p",
    "9" * 400, "-1s", "1000000000d", "{" * 60, "[" * 3000, "a: " * 50, "${" + "(" * 300 + "1" + ")" * 300 + "}",
    '"\\UFFFFFFFF"', '"\\U00110000"', '"\\uD800"', "%YAML 1." + "9" * 5000 + "\n---\n",
    "\ud800", "﻿", "\x85", "!<tag:yaml.org,2002:int> 3",
]  # fmt: skip


@st.composite
def edited(draw: st.DrawFn, text: str, odd: list[str]) -> bytes:
    """A text with words, lines and characters replaced."""
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(text)))
        end = min(len(text), at + draw(st.integers(0, 30)))
        put = draw(st.one_of(st.sampled_from(odd), st.text(max_size=10), st.just("")))
        text = text[:at] + put + text[end:]
    return text.encode("utf-8", errors="surrogatepass")


def alone(head: str) -> st.SearchStrategy[bytes]:
    """What is odd as all of a file, or as its first value: amid other text it mostly is a part of that."""
    both = st.tuples(st.sampled_from(["", head]), st.sampled_from(ODD))
    return both.map(lambda parts: "".join(parts).encode("utf-8", errors="surrogatepass"))


def test_a_pipeline_file_is_compiled_or_refused(fine: Fine, cases: Cases) -> None:
    @cases(600)
    @given(edited(PIPELINE, ODD + EXPRESSIONS) | alone("pipeline: ") | st.binary(max_size=100))
    def check_each(case: bytes) -> None:
        fine("yaml", case)

    check_each()


def terms() -> st.SearchStrategy[str]:
    """Expressions by CEL's grammar, with names that exist and some that do not."""
    leaves = st.sampled_from(
        ["a", "a.n", "a.x", "a.items", "a.none", "b", "params.text", "run.id", "item", "nope", "a.nope", "1", "-1", "0",
         "9223372036854775807", "-9223372036854775808", "9223372036854775808", "1.5", "1e308", "true", "null", "'x'",
         '"\\u0041"', "r'\\d'", "b'raw'", "1u", "[]", "{}", "timestamp('2026-01-01T00:00:00Z')", "duration('1h')",
         "'(a+)+$'", "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!'", "type", "in", "dyn(1)"]
    )  # fmt: skip
    operator = st.sampled_from(["+", "-", "*", "/", "%", "==", "!=", "<", ">=", "&&", "||", "in", "&", "="])
    call = st.sampled_from(
        ["size", "string", "int", "double", "bool", "timestamp", "type", "has", "matches", "os", "uint"]
    )
    method = st.sampled_from(
        ["size", "startsWith", "contains", "matches", "all", "exists", "map", "filter", "getHours"]
    )

    def inner(child: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(
            st.builds("({} {} {})".format, child, operator, child),
            st.builds("{} ? {} : {}".format, child, child, child),
            st.builds("{}({})".format, call, child),
            st.builds("{}.{}({})".format, child, method, child),
            st.builds("{}.{}(x, {})".format, child, method, child),
            st.builds("{}[{}]".format, child, child),
            st.builds("[{}, {}]".format, child, child),
            st.builds("{{{}: {}}}".format, child, child),
            st.builds("!{}".format, child),
        )

    return st.recursive(leaves, inner, max_leaves=12)


LONG = [
    "1" + " + 1" * 1000,
    "(" * 200 + "1" + ")" * 200,
    "!" * 500 + "true",
    "-" * 500 + "1",
    "a" + ".n" * 1000,
    "[" * 500,
    "'" + "x" * 4000 + "'",
    "b.map(x, b.map(y, b.map(z, b)))",
    "b.all(x, b.all(y, x.n + y.n >= 0))",
    "'" + "a" * 40 + "!'.matches('(a|a)*$')",
    "params.text.matches('(o+o+)+x')",
]


def test_an_expression_is_evaluated_or_refused(fine: Fine, cases: Cases) -> None:
    @cases(800)
    @given(terms() | st.sampled_from(LONG) | st.text(max_size=30))
    def check_each(text: str) -> None:
        fine("cel", text.encode("utf-8", errors="surrogatepass"))

    check_each()


@st.composite
def reshaped(draw: st.DrawFn, tree: object) -> object:
    """JSON with values exchanged, removed and put where they do not belong."""
    odd = st.sampled_from([None, -1, 2**70, 1.5, "", "x", [], {}, True, ["a"], {"a": 1}, "1s", "a" * 5000])
    if draw(st.integers(0, 12)) == 0:
        return draw(odd)
    if isinstance(tree, dict):
        out = {key: draw(reshaped(each)) for key, each in tree.items() if draw(st.integers(0, 12))}
        if draw(st.integers(0, 12)) == 0:
            out[draw(st.sampled_from(["x", "map_over", "join", "steps", "after"]))] = draw(odd)
        return out
    if isinstance(tree, list):
        return [draw(reshaped(each)) for each in tree]
    return tree


def test_a_compiled_definition_is_read_or_refused(fine: Fine, cases: Cases) -> None:
    (orders,) = load_unit(REPOSITORY / "agents" / "orders").pipelines.values()
    tree = json.loads(orders.definition.to_json())

    @cases(80)
    @given(reshaped(tree).map(lambda each: json.dumps(each).encode()) | edited(orders.definition.to_json(), ODD))
    def check_each(case: bytes) -> None:
        fine("definition", case)

    check_each()


def test_a_name_that_is_taken_is_safe_everywhere(fine: Fine, cases: Cases) -> None:
    odd = st.sampled_from(
        ["..", "a/../b", "a" * 250, "a.b", "A", "a\n", "<script>", "';--", "=1+1", "\u202ea", "ａ", "a\0"]
    )

    @cases(400)
    @given(odd | st.text(max_size=20) | st.text("abz09_-", max_size=70) | st.uuids().map(str))
    def check_each(text: str) -> None:
        fine("name", text.encode("utf-8", errors="surrogatepass"))

    check_each()


TOML = """\
bootstrap = "localhost:9092"
namespace = "farandole"
partitions = 12
artifacts = "var"
[kafka]
"security.protocol" = "SSL"
ssl = { ca = { location = "ca.pem" } }
"""
TOPIC = "topic: <ns>.events\nholds: facts\npartitions: home\nconfig: {retention.ms: 5}\n"


def test_a_settings_file_is_taken_or_refused(fine: Fine, cases: Cases) -> None:
    @cases(300)
    @given(
        edited(TOML, [*ODD, "[[kafka]]", "a.b.c = 1", "= 1", "partitions = 1e9", "kafka = 3", "[artifacts]", '"" = 1'])
    )
    def check_each(case: bytes) -> None:
        fine("toml", case)

    check_each()


def test_a_topic_file_is_taken_or_refused(fine: Fine, cases: Cases) -> None:
    @cases(250)
    @given(edited(TOPIC, ODD) | alone("topic: "))
    def check_each(case: bytes) -> None:
        fine("topic_file", case)

    check_each()


def test_a_command_line_ends_with_an_exit_code(fine: Fine, cases: Cases) -> None:
    words = st.sampled_from(
        ["check", "plan", "apply", "run", "start", "list", "show", "cancel", "release", "dead", "replay", "lineage",
         "verify", "version", "agents/orders", ".", "/nonexistent", "--json", "--unit", "--bootstrap", "--params", "{}",
         "--run-id", "x", "--timeout", "1s", "--namespace", "--help", "--yes", "--", "-b", "a/b/c", "orders",
         "--config",
         "farandole.inbox.a/0/0", "pyproject.toml", "tests", "--limit", "-5", "99999999999999999999"]
    )  # fmt: skip

    # What would follow a log or run processes is left out: it ends by a signal.
    @cases(120)
    @given(
        st.lists(words | st.text(max_size=12), max_size=6).filter(lambda each: not {"agent", "coordinator"} & {*each})
    )
    def check_each(arguments: list[str]) -> None:
        fine("line", json.dumps(arguments).encode())

    check_each()
