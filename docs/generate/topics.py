"""The page of topics: from their declarations."""

from markdown import NOTE, code, table

from farandole.transport.topology import DECLARED


def page() -> str:
    """One section for each kind of topic, each number with its reason."""
    parts = [
        NOTE,
        "# Topics",
        "`farandole apply` creates these. `<ns>` is the namespace (default `farandole`), P the number of home "
        "partitions (default 12, fixed at the first `apply`). Files in your `topics/` folder override what may be "
        "overridden and declare topics of your own.",
        table(
            ("Topic", "Partitions", "Holds"),
            [(code(each.name), _partitions(each.partitions), each.holds) for each in DECLARED],
        ),
    ]
    for each in DECLARED:
        rows = [(code(name), code(value), why) for name, value, why in each.config]
        parts += [
            f"## {code(each.name)}",
            f"{each.holds[0].upper()}{each.holds[1:]}. Partitions: {_partitions(each.partitions)}, for "
            f"{each.why_partitions}.",
            table(("Setting", "Value", "Why"), rows),
        ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _partitions(given: str | int) -> str:
    return {"home": "P", "agent": "P unless overridden"}.get(str(given), str(given))
