"""Every setting with its key, variable, flag, type, default, unit and reason: the reference page and `config show`.

Made from the settings classes, so that the page cannot say anything else than the code. The
reasons are the docstrings under the fields. Knows no values but defaults.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import timedelta
from pathlib import Path
from types import NoneType, UnionType
from typing import Union, get_args, get_origin, get_type_hints

from pydantic_core import PydanticUndefined

from farandole.cli.settings import SECTIONS, Settings, is_secret
from farandole.definition.policy import duration_text
from farandole.settings.connection import Connection
from farandole.settings.production import RULES
from farandole.settings.sources import DOTTED, PREFIX
from farandole.transport.kafka.names import NAMES

FLAGS: Mapping[str, str] = {
    "bootstrap": "--bootstrap",
    "namespace": "--namespace",
    "log.level": "--log-level",
    "log.format": "--log-format",
    "metrics.listen": "--metrics",
    "agent.fusion": "--fusion",
}
"""Keys that a flag can set."""

UNITS = ("bytes", "records", "offsets", "partitions")
"""Words at the end of a name, or in it, that are its unit (STYLE: units last)."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of the configuration, for a person."""

    key: str
    type: str
    default: str
    unit: str
    reason: str

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        section, _, rest = self.key.partition(".")
        return PREFIX + "__".join(part.replace(".", "_").upper() for part in (section, rest) if part)

    @property
    def flag(self) -> str:
        """Its flag; empty if it has none."""
        return FLAGS.get(self.key, "")


def settings_known() -> Iterator[Setting]:
    """All of them, in the order of the page."""
    hints, reasons = get_type_hints(Settings), docstrings(Connection) | docstrings(Settings)
    for name, info in Settings.model_fields.items():
        if name in SECTIONS:
            yield from _of_section(name, SECTIONS[name])
        elif name == DOTTED:
            yield from (Setting(f"{DOTTED}.{each.name}", "text", each.default, each.unit, each.why) for each in NAMES)
        else:
            default = "" if info.default is PydanticUndefined else shown(info.default)
            yield Setting(name, _type(hints[name]), default, _unit(name, hints[name]), reasons[name])


def shown(value: object, key: str = "") -> str:
    """A value as one would write it in the file; a secret as stars."""
    if is_secret(key) and value:
        return "******"
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case timedelta():
            return duration_text(value)
        case Path():
            return str(value)
        case _:
            return str(value)


def _of_section(section: str, kind: type) -> Iterator[Setting]:
    hints, reasons = get_type_hints(kind), docstrings(kind)
    for each in fields(kind):
        if each.init:
            hint = hints[each.name]
            default = "" if each.default is MISSING else shown(each.default)
            key = f"{section}.{each.name}"
            yield Setting(key, _type(hint), default, _unit(each.name, hint), reasons[each.name])


def docstrings(kind: type) -> dict[str, str]:
    """The strings that stand under the fields of a class."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            told = text.value if isinstance(text, ast.Expr) else None
            found[field.target.id] = (
                _joined(told.value) if isinstance(told, ast.Constant) and isinstance(told.value, str) else ""
            )
    return found


def _type(hint: object) -> str:
    if get_origin(hint) in (UnionType, Union):
        return " or ".join(_type(each) for each in get_args(hint) if each is not NoneType)
    if choices := get_args(hint):
        return " or ".join(f"`{each}`" for each in choices)
    names = {bool: "boolean", int: "integer", str: "text", timedelta: "duration", Path: "path"}
    return names.get(hint, "text") if isinstance(hint, type) else "text"


def _unit(name: str, hint: object) -> str:
    kind = _type(hint)
    if kind == "duration":
        return "`ms s m h d`"
    if kind != "integer":
        return ""
    if name == "window":
        return "offsets"
    return next((unit for unit in UNITS if unit in name), "count")


def _joined(text: str) -> str:
    return " ".join(text.split())


HEAD = """\
# Configuration

<!-- Made by `farandole config reference`; equal to it by test. -->

A setting is taken from the flag, else from the environment, else from `farandole.toml` (in the working folder or the
nearest one above it; `--config FILE` names another), else it has its default. `farandole config show` tells the value
of each and where it comes from.

- Unknown keys are refused, with the nearest known one. A variable `FARANDOLE_...` outside the names below is left
  alone (Kubernetes sets such for a service of that name); `config show` lists it.
- Relative paths in the file are relative to the file, others to the working folder.
- Durations are written `500ms`, `10s`, `5m`, `24h`, `7d`.
- Empty variables count as not set. Passwords are best set in the environment.
- `hold_max`, `stop_max`, retries and deadlines belong to a pipeline and stand in its definition.
"""

SECTION_HEADS: Mapping[str, str] = {
    "": "## The top level",
    "kafka": """\
## `[kafka]`

Names are librdkafka's; both clients (confluent-kafka and aiokafka) get the same. Of security there are no others than
these; names that are no matter of security are taken if librdkafka knows them. What decides the guarantee cannot be
set (R14). In the environment dots are underscores: `sasl.password` is `FARANDOLE_KAFKA__SASL_PASSWORD`. See
`docs/how-to/secure-kafka.md`.
""",
    "embedded": """\
## `[embedded]`

The log where no `bootstrap` is set: one SQLite file that several processes of one machine open together. Not for a
network file system.
""",
    "agent": "## `[agent]`",
    "coordinator": "## `[coordinator]`",
    "registry": """\
## `[registry]`

With `url`, payloads stand on the topics in the Confluent frame (`00` and an id) and their schemas in the registry;
`apply` registers, all others only look up. Without this section the frame is Avro's single-object one, and the
schemas stand on `<ns>.schemas`. All processes of a namespace must agree.
""",
    "log": "## `[log]`",
    "metrics": "## `[metrics]`",
}


def page() -> str:
    """The reference page."""
    parts, section = [HEAD], None
    for each in settings_known():
        name = each.key.partition(".")[0] if "." in each.key else ""
        if name != section:
            parts.append(f"\n{SECTION_HEADS[name].rstrip()}\n")
            parts.append(
                "\n| Key | Environment | Flag | Type | Default | Unit | Reason |\n|---|---|---|---|---|---|---|\n"
            )
            section = name
        default = f"`{each.default}`" if each.default else ""
        flag = f"`{each.flag}`" if each.flag else ""
        cells = (f"`{each.key}`", f"`{each.variable}`", flag, each.type, default, each.unit, each.reason)
        parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    parts.append('\n## `profile = "production"`\n\nrefuses, before anything is connected or written:\n\n')
    parts += [f"- {what}: {why}.\n" for what, why in RULES]
    return "".join(parts)
