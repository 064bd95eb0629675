"""Reading an expression into a tree, within bounds.

Our own parser stands before the CEL package because the package dies of deep expressions
(a segmentation fault, not an error) and does not show its tree. Source of the grammar: the CEL
specification, "Syntax". What is left out is refused with its name.
"""

from farandole.definition.cel_nodes import (
    MACROS,
    Binary,
    Call,
    Choose,
    Entries,
    Has,
    Index,
    Items,
    Literal,
    Macro,
    Name,
    Node,
    Select,
    Unary,
    depth,
    macro_depth,
)
from farandole.definition.cel_tokens import RESERVED_WORDS, Kind, SyntaxProblem, Token, tokens

CHARACTERS_MAX = 4096
"""Longest expression. Source: DESIGN section 5."""

NESTING_MAX = 24
"""Brackets, calls and `? :` inside each other. The package crashes at 100 on a thread of 512 KiB."""

DEPTH_MAX = 128
"""Longest way through the tree, so also the longest chain of one operator. The package crashes at 1,000."""

MACRO_DEPTH_MAX = 2
"""Macros inside each other: two over lists of 1,000 are a million steps. See `cel_work` for the lists."""

ITEMS_MAX = 1000
"""Items of a literal list. Source: the most items of one map."""

FUNCTIONS = frozenset({"size", "int", "double", "string", "timestamp", "duration"})
"""Functions with one argument."""

METHODS = {"size": 0, "contains": 1, "startsWith": 1, "endsWith": 1, "matches": 1} | dict.fromkeys(
    (
        *("getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear"),
        *("getHours", "getMinutes", "getSeconds", "getMilliseconds"),
    ),
    0,
)
"""Functions after a dot, with the number of their arguments."""

VARIABLES_TAKEN = frozenset({"params", "run", "item"})
"""Names that no macro may bind: they would hide what every expression can read."""

PRECEDENCE = {"||": 1, "&&": 2} | dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in"), 3)
PRECEDENCE |= {"+": 4, "-": 4, "*": 5, "/": 5, "%": 5}


def parse(text: str) -> Node:
    """The tree of an expression.

    Raises:
        SyntaxProblem: it is no expression, exceeds a bound, or uses what is left out.
    """
    if len(text) > CHARACTERS_MAX:
        raise SyntaxProblem(f"expected at most {CHARACTERS_MAX:,} characters, but found {len(text):,}", 0)
    parser = _Parser(list(tokens(text)))
    node = parser.expression()
    parser.expect_end()
    if (found := depth(node)) > DEPTH_MAX:
        raise SyntaxProblem(f"expected at most {DEPTH_MAX} operations in a chain, but found {found}", 0)
    if (found := macro_depth(node)) > MACRO_DEPTH_MAX:
        raise SyntaxProblem(f"expected at most {MACRO_DEPTH_MAX} macros inside each other, but found {found}", 0)
    return node


class _Parser:
    def __init__(self, given: list[Token]) -> None:
        self._tokens = given
        self._at = 0
        self._nesting = 0

    @property
    def _token(self) -> Token:
        return self._tokens[self._at]

    def _next(self) -> Token:
        token = self._token
        self._at += 1
        return token

    def _sees(self, sign: str) -> bool:
        return self._token.kind is Kind.SIGN and self._token.text == sign

    def _takes(self, sign: str) -> bool:
        if self._sees(sign):
            self._at += 1
            return True
        return False

    def _expect(self, sign: str) -> None:
        if not self._takes(sign):
            raise self._problem(repr(sign))

    def _problem(self, expected: str) -> SyntaxProblem:
        found = "the end" if self._token.kind is Kind.END else repr(self._token.text)
        return SyntaxProblem(f"expected {expected}, but found {found}", self._token.at)

    def expect_end(self) -> None:
        """Refuse what stands behind the expression."""
        if self._token.kind is not Kind.END:
            raise self._problem("the end of the expression")

    def expression(self) -> Node:
        """`a`, or `a ? b : c`."""
        self._nesting += 1
        if self._nesting > NESTING_MAX:
            raise SyntaxProblem(f"expected at most {NESTING_MAX} levels of nesting", self._token.at)
        node = self._operation(1)
        if self._takes("?"):
            yes = self._operation(1)  # a choice in the middle needs its parentheses (CEL's grammar)
            self._expect(":")
            node = Choose(node, yes, self.expression())
        self._nesting -= 1
        return node

    def _operation(self, lowest: int) -> Node:
        node = self._unary()
        while (found := self._operator()) and PRECEDENCE[found] >= lowest:
            self._at += 1
            node = Binary(found, node, self._operation(PRECEDENCE[found] + 1))
        return node

    def _operator(self) -> str | None:
        known = self._token.kind in (Kind.SIGN, Kind.KEYWORD) and self._token.text in PRECEDENCE
        return self._token.text if known else None

    def _unary(self) -> Node:
        signs: list[Token] = []
        while self._sees("!") or self._sees("-"):
            signs.append(self._next())
            if signs[0].text != signs[-1].text:
                raise SyntaxProblem("expected brackets between ! and -", signs[-1].at)
        negative = bool(signs) and signs[-1].text == "-" and self._token.kind in (Kind.INT, Kind.DOUBLE)
        if negative:
            signs.pop()
        node = self._member(self._primary(negative=negative))
        for sign in reversed(signs):
            node = _signed(sign.text, node)
        return node

    def _primary(self, *, negative: bool) -> Node:
        token = self._next()
        match token:
            case Token(kind=Kind.INT | Kind.DOUBLE):
                return Literal(_number(token, negative=negative))
            case Token(kind=Kind.STRING, text=text):
                return Literal(text)
            case Token(kind=Kind.KEYWORD, text="true" | "false" | "null" as word):
                return Literal({"true": True, "false": False, "null": None}[word])
            case Token(kind=Kind.NAME):
                return self._call(token) if self._sees("(") else Name(_free_name(token))
            case Token(kind=Kind.SIGN, text="("):
                node = self.expression()
                self._expect(")")
                return node
            case Token(kind=Kind.SIGN, text="["):
                return self._list(token)
            case Token(kind=Kind.SIGN, text="{"):
                return self._entries()
        self._at -= 1
        raise self._problem("a value")

    def _member(self, node: Node) -> Node:
        while True:
            if self._takes("."):
                token = self._next()
                if token.kind is not Kind.NAME:
                    self._at -= 1
                    raise self._problem("a field")
                node = self._method(node, token) if self._sees("(") else Select(node, token.text)
            elif self._takes("["):
                node = Index(node, self.expression())
                self._expect("]")
            else:
                return node

    def _arguments(self) -> list[Node]:
        self._expect("(")
        found: list[Node] = []
        while not self._sees(")"):
            found.append(self.expression())
            if not self._takes(","):
                break
        self._expect(")")
        return found

    def _call(self, name: Token) -> Node:
        if name.text == "has":
            return self._has(name)
        if name.text not in FUNCTIONS:
            known = ", ".join(sorted({*FUNCTIONS, "has"}))
            raise SyntaxProblem(f"expected a function ({known}), but found {name.text!r}", name.at)
        given = self._arguments()
        if len(given) != 1:
            raise SyntaxProblem(f"expected one argument of {name.text}(), but found {len(given)}", name.at)
        return Call(name.text, tuple(given))

    def _has(self, name: Token) -> Node:
        given = self._arguments()
        if len(given) != 1 or not isinstance(given[0], Select):
            raise SyntaxProblem("expected has(value.field)", name.at)
        return Has(given[0])

    def _method(self, target: Node, name: Token) -> Node:
        if name.text in MACROS:
            return self._macro(target, name)
        if name.text not in METHODS:
            known = ", ".join(sorted(MACROS | set(METHODS)))
            raise SyntaxProblem(f"expected a method ({known}), but found {name.text!r}", name.at)
        given, wanted = self._arguments(), METHODS[name.text]
        if len(given) != wanted and not (len(given) == 1 and name.text.startswith("get")):
            raise SyntaxProblem(f"expected {wanted} arguments of {name.text}(), but found {len(given)}", name.at)
        return Call(name.text, tuple(given), target)

    def _macro(self, base: Node, name: Token) -> Node:
        given = self._arguments()
        most = 3 if name.text == "map" else 2
        if not 2 <= len(given) <= most or not isinstance(given[0], Name):
            raise SyntaxProblem(f"expected {name.text}(variable, expression)", name.at)
        if (variable := given[0].name) in VARIABLES_TAKEN:
            raise SyntaxProblem(f"expected another variable of {name.text}() than the reserved {variable!r}", name.at)
        return Macro(name.text, base, variable, tuple(given[1:]))

    def _list(self, bracket: Token) -> Node:
        found: list[Node] = []
        while not self._sees("]"):
            found.append(self.expression())
            if not self._takes(","):
                break
        self._expect("]")
        if len(found) > ITEMS_MAX:
            raise SyntaxProblem(f"expected at most {ITEMS_MAX:,} items, but found {len(found):,}", bracket.at)
        return Items(tuple(found))

    def _entries(self) -> Node:
        found: dict[str, Node] = {}
        while not self._sees("}"):
            key = self._next()
            if key.kind is not Kind.STRING or key.text in found:
                raise SyntaxProblem("expected a string that is new as key", key.at)
            self._expect(":")
            found[key.text] = self.expression()
            if not self._takes(","):
                break
        self._expect("}")
        return Entries(tuple(found), tuple(found.values()))


def _free_name(token: Token) -> str:
    if token.text in RESERVED_WORDS:
        raise SyntaxProblem(f"expected a name, but {token.text!r} is a reserved word", token.at)
    return token.text


def _signed(sign: str, node: Node) -> Node:
    """The operand under its sign; a number takes a minus into itself, however it was bracketed."""
    value = node.value if isinstance(node, Literal) else None
    if sign == "-" and isinstance(value, int | float) and not isinstance(value, bool) and value != -(2**63):
        return Literal(-value)
    return Unary(sign, node)


def _number(token: Token, *, negative: bool) -> int | float:
    if token.kind is Kind.DOUBLE:
        double = float(token.text)
        if double == float("inf"):
            raise SyntaxProblem(f"expected a number of 64 bits, but found {token.text}", token.at)
        return -double if negative else double
    value = int(token.text, 16 if token.text[:2] in ("0x", "0X") else 10)
    value = -value if negative else value
    if not -(2**63) <= value < 2**63:
        raise SyntaxProblem(f"expected an integer of 64 bits, but found {value}", token.at)
    return value
