"""Cutting Avro schemas: a record with only some of its fields, still self-contained.

Works on parsed JSON; knows nothing of Avro libraries.
"""

from collections.abc import Mapping, Sequence


def project_fields(schema: Mapping[str, object], names: Sequence[str]) -> list[object]:
    """The named fields of a record schema, with every named type written out at its first use."""
    fields = schema["fields"]
    assert isinstance(fields, list)
    defined: dict[str, object] = {}
    for field in fields:
        _collect(field["type"], defined)
    seen: set[str] = set()
    return [{**f, "type": _expand(f["type"], defined, seen)} for f in fields if f["name"] in names]


def _collect(node: object, defined: dict[str, object]) -> None:
    if isinstance(node, list):
        for branch in node:
            _collect(branch, defined)
    elif isinstance(node, dict):
        if "name" in node:
            defined[_full_name(node)] = node
        for part in ("items", "values"):
            if part in node:
                _collect(node[part], defined)
        for field in node.get("fields", ()):
            _collect(field["type"], defined)


def _expand(node: object, defined: Mapping[str, object], seen: set[str]) -> object:
    if isinstance(node, list):
        return [_expand(branch, defined, seen) for branch in node]
    if isinstance(node, str):
        return _expand(defined[node], defined, seen) if node in defined and node not in seen else node
    if isinstance(node, dict):
        if "name" in node:
            name = _full_name(node)
            if name in seen:
                return name
            seen.add(name)
        out = {k: _expand(v, defined, seen) if k in ("items", "values") else v for k, v in node.items()}
        if "fields" in node:
            out["fields"] = [{**f, "type": _expand(f["type"], defined, seen)} for f in node["fields"]]
        return out
    return node


def _full_name(node: Mapping[str, object]) -> str:
    name, namespace = str(node["name"]), node.get("namespace")
    return f"{namespace}.{name}" if namespace and "." not in name else name
