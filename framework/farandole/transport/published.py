"""The declared topics as YAML files: what `topics/` in the repository holds, equal to the code by test.

    python -m farandole.transport.published topics     # writes them anew

A user's own `topics/` has files of the same shape, with only what differs.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from farandole.transport.topology import DECLARED, HOME_PARTITIONS, Declared

_HEAD = """\
# Published form of farandole/transport/topology.py: change it there, then write it anew with
#     python -m farandole.transport.published topics
"""


def published() -> Mapping[str, str]:
    """Content of each file, by its name."""
    return {f"{each.kind}.yaml": "".join(_lines(each)) for each in DECLARED}


def _lines(it: Declared) -> Iterator[str]:
    yield _HEAD
    yield f'topic: "{it.name}"\n'
    yield f"holds: {json.dumps(it.holds)}\n"
    yield f"# {_how_many(it)}: {it.why_partitions}\n"
    yield f"partitions: {it.partitions}\n"
    yield "config:\n"
    for name, value, why in it.config:
        yield f'  # {why}\n  {name}: "{value}"\n'


def _how_many(it: Declared) -> str:
    return str(it.partitions) if isinstance(it.partitions, int) else f"P, by default {HOME_PARTITIONS}"


def write(folder: Path) -> None:
    """Write every file into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in published().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
