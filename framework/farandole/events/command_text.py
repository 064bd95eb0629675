"""Commands as JSON, for who has kcat and no schema.

`{"run_id": "o-1", "pipeline": "orders", "params": {…}}` starts a run; any other command names
itself by `"command": "CancelRun"`, or by the CloudEvents header `ce_type`. Params and inputs stay
the JSON text that they were: only the definition knows what they are.
"""

import dataclasses
from collections.abc import Callable
from typing import get_args, get_type_hints

import msgspec

from farandole.errors import RecordError
from farandole.events.commands import CancelRun, Command, DiscardDeadLetter, ReleaseRun, ReplayDeadLetter, StartRun
from farandole.events.derivation import NAMESPACE, optional
from farandole.events.envelope import Headers
from farandole.events.jsontext import parse_json
from farandole.events.misfit import Misfit, misfit
from farandole.events.wire import LONG_MAX, LONG_MIN

_COMMANDS: dict[str, type[Command]] = {
    each.__name__: each for each in (StartRun, CancelRun, ReplayDeadLetter, DiscardDeadLetter, ReleaseRun)
}
assert set(_COMMANDS.values()) == set(get_args(Command)), "a command is missing from the JSON form"

_NO_PARAMS = b"{}"
"""Params of a start that gives none: right for a pipeline that takes none, refused by the schema of any other."""


def parse_command(text: bytes, headers: Headers) -> Command:
    """The command of a JSON text.

    Raises:
        RecordError: it is no strict JSON, no known command, or its keys and types are not the command's.
    """
    given = parse_json(text)
    if not isinstance(given, dict):
        raise RecordError(f"expected a command as a JSON object, but found {type(given).__name__}")
    name = _name(given, headers)
    kind = _COMMANDS[name]
    make: Callable[..., Command] = kind
    texts = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    try:
        return make(**_arguments(kind, given, texts))
    except Misfit as bad:
        raise RecordError(bad.told(name)) from None


def _name(given: dict[str, object], headers: Headers) -> str:
    typed = next((value for key, value in headers if key == "ce_type"), b"").decode(errors="replace")
    by_header = typed.removeprefix(f"{NAMESPACE}.") if typed.startswith(f"{NAMESPACE}.") else None
    by_key = given.get("command", by_header or StartRun.__name__)
    if by_header is not None and by_key != by_header:
        raise RecordError(f"expected one command, but ce_type says {typed[:80]} and the value says {by_key!r:.80}")
    if not isinstance(by_key, str) or by_key not in _COMMANDS:
        raise RecordError(f"expected a command ({', '.join(_COMMANDS)}), but found {by_key!r:.80}")
    return by_key


def _arguments(command: type[Command], given: dict[str, object], texts: dict[str, msgspec.Raw]) -> dict[str, object]:
    hints = get_type_hints(command)
    if strange := sorted(set(given) - set(hints) - {"command"}):
        raise Misfit(f"only {', '.join(hints)}", ", ".join(strange)[:200])
    arguments: dict[str, object] = {}
    for each in dataclasses.fields(command):
        if each.name in given:
            try:
                arguments[each.name] = _argument(hints[each.name], given[each.name], bytes(texts[each.name]))
            except Misfit as bad:
                raise bad.under(f".{each.name}") from None
        elif each.name == "params":
            arguments[each.name] = _NO_PARAMS
        elif each.default is dataclasses.MISSING:
            raise Misfit("a value", "none").under(f".{each.name}")
    if "params" in given and not isinstance(given["params"], dict):
        raise misfit("an object", given["params"]).under(".params")
    return arguments


def _argument(annotation: object, value: object, text: bytes) -> object:
    inner = optional(annotation)
    if inner is not None and value is None:
        return None
    match inner or annotation:
        case kind if kind is bytes:
            return text
        case kind if kind is str:
            if not isinstance(value, str):
                raise misfit("text", value)
        case kind if kind is int:
            if not isinstance(value, int) or isinstance(value, bool) or not LONG_MIN <= value <= LONG_MAX:
                raise misfit("an integer of 64 bits", value)
        case other:
            raise TypeError(f"commands hold text, integers and payloads, but found {other}")
    return value
