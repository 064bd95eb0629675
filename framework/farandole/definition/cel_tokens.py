"""Cutting an expression into tokens: the lexical part of the Common Expression Language.

Source: the CEL specification, "Syntax" (github.com/google/cel-spec/blob/master/doc/langdef.md).
Unsigned integers and bytes are left out: no value of ours has such a type in an expression.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

KEYWORDS = frozenset({"in", "true", "false", "null"})
"""Words that are never names, not even of fields."""

RESERVED_WORDS = frozenset(
    {"as", "break", "const", "continue", "else", "for", "function", "if", "import"}
    | {"let", "loop", "package", "namespace", "return", "var", "void", "while"}
)
"""Words that CEL keeps: they name fields, but neither steps nor variables."""


class SyntaxProblem(Exception):  # noqa: N818 - becomes an ExpressionError one level up
    """An expression that cannot be read; `at` is the offset of the first wrong character."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.message = message
        self.at = at


class Kind(Enum):
    """What a token is."""

    NAME = "name"
    KEYWORD = "keyword"
    INT = "int"
    DOUBLE = "double"
    STRING = "string"
    SIGN = "sign"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """One token: its text (of a string: its content) and where it starts."""

    kind: Kind
    text: str
    at: int


_TOKEN = re.compile(
    r"""
    (?P<blank>(?:[ \t\r\n\f]|//[^\n]*)+)
  | (?P<string>(?P<prefix>[rRbB]{0,2})(?P<quote>\"{3}|'{3}|\"|'))
  | (?P<double>[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+|\.[0-9]+(?:[eE][+-]?[0-9]+)?)
  | (?P<int>0[xX][0-9a-fA-F]+|[0-9]+)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<sign>&&|\|\||==|!=|<=|>=|[-+*/%<>!?:.,()\[\]{}])
    """,
    re.VERBOSE,
)

_SINGLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"} | {c: c for c in "\\?\"'`"}
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|X([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.))", re.DOTALL
)


def tokens(text: str) -> Iterator[Token]:
    """The tokens of an expression, closed by one of kind `END`.

    Raises:
        SyntaxProblem: a character or a string that CEL does not know.
    """
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise SyntaxProblem(f"unexpected character {text[at]!r}", at)
        start, at = at, found.end()
        if found["string"]:
            content, at = _string(text, found["prefix"], found["quote"], at, start)
            yield Token(Kind.STRING, content, start)
        elif not found["blank"]:
            yield _plain_token(found, text, start)
    yield Token(Kind.END, "", len(text))


def _plain_token(found: re.Match[str], text: str, start: int) -> Token:
    word, after = found[0], text[found.end() : found.end() + 1]
    if found["int"] or found["double"]:
        if after.isalnum() or after == "_":
            raise SyntaxProblem(f"expected a number, but found {word + after!r} (there are no unsigned numbers)", start)
        return Token(Kind.INT if found["int"] else Kind.DOUBLE, word, start)
    if found["name"]:
        return Token(Kind.KEYWORD if word in KEYWORDS else Kind.NAME, word, start)
    return Token(Kind.SIGN, word, start)


def _string(text: str, prefix: str, quote: str, at: int, start: int) -> tuple[str, int]:
    """Content of the string that opens before `at`, and the offset behind it."""
    if "b" in prefix.lower():
        raise SyntaxProblem("bytes are not a type of expressions", start)
    raw, end = "r" in prefix.lower(), at
    while not text.startswith(quote, end):
        if end >= len(text) or (len(quote) == 1 and text[end] in "\r\n"):
            raise SyntaxProblem("expected the end of the string", start)
        end += 2 if text[end] == "\\" and not raw else 1
    content = text[at:end]
    return (content if raw else _unescaped(content, at)), end + len(quote)


def _unescaped(content: str, at: int) -> str:
    def one(found: re.Match[str]) -> str:
        hexadecimal = found[1] or found[2] or found[3] or found[4]
        if hexadecimal or found[5]:
            code = int(hexadecimal, 16) if hexadecimal else int(found[5], 8)
            if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
                raise SyntaxProblem(f"no character has the code {code:#x}", at + found.start())
            return chr(code)
        if found[6] not in _SINGLE:
            raise SyntaxProblem(f"unknown escape \\{found[6]}", at + found.start())
        return _SINGLE[found[6]]

    return _ESCAPE.sub(one, content)
