"""Publish the schemas of farandole's own records into this folder: `python schemas/make.py`.

`<name>/<version>.avsc`. A schema that has not changed is left alone; one that has becomes the
next version, if both versions can read each other (agents and coordinators are upgraded one by
one). No file is ever changed or removed; `SHA256SUMS` holds everyone to that.
"""

import hashlib
import re
import sys
from pathlib import Path

from farandole.events.avro import Schema
from farandole.events.catalogue import ALL, schema_of
from farandole.registry.compatibility import Compatibility, check

HERE = Path(__file__).parent
SUMS = "SHA256SUMS"


def folder_of(record: type) -> str:
    """`StepSucceeded` is published in `step-succeeded/`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", record.__name__).lower()


def versions(folder: Path) -> list[Path]:
    """The published versions of one schema, the first first."""
    return sorted(folder.glob("*.avsc"), key=lambda path: int(path.stem))


def publish(root: Path) -> list[Path]:
    """Write what is new; returns the new files.

    Raises:
        SchemaRefused: a schema was changed so that two versions could not read each other.
    """
    written: list[Path] = []
    for record in ALL:
        schema, folder = schema_of(record), root / folder_of(record)
        published = versions(folder)
        if published and published[-1].read_text() == schema.text:
            continue
        for path in published:
            check(schema, Schema.parse(path.read_text()), Compatibility.FULL)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{len(published) + 1}.avsc"
        path.write_text(schema.text)
        written.append(path)
    if written:
        with (root / SUMS).open("a") as sums:
            sums.writelines(f"{digest(path)}  {path.relative_to(root)}\n" for path in written)
    return written


def digest(path: Path) -> str:
    """As `sha256sum` prints it: `sha256sum -c SHA256SUMS` checks the folder."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    for new in publish(HERE):
        sys.stdout.write(f"{new.relative_to(HERE)}\n")
