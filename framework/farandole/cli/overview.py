"""What `farandole --help` shows: the commands by what people do with them, in the order in which they come to it."""

from collections.abc import Mapping, Sequence

SECTIONS: Mapping[str, Sequence[str]] = {
    "Begin": ("init", "dev", "demo"),
    "Runs": ("run", "dead", "lineage"),
    "Deploy": ("check", "plan", "apply", "coordinator", "agent"),
    "Look after": ("lag", "doctor", "transactions", "topics", "schema", "archive", "config", "acls"),
    "Prove": ("simulate", "verify", "state"),
    "Besides": ("exit-codes", "version"),
}
"""Every command of the top level, once (held by a test)."""
