"""Records kept beyond their topic's retention, as Avro object container files that anybody can read.

    <root>/<topic>/<partition>/<first>-<end>.avro      all records from offset `first` up to, not including, `end`

Offsets between two records that no file holds were markers and gaps; a range of nothing else has a file
too, which says that nothing is missing there. A file appears whole or not at
all and is never written twice; what a killed writer left is under another name. Values, keys and
headers are kept as they stood on the log: a value is framed, its schema is on `schemas` and in `schemas/`.
"""

import fcntl
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, cast

import fastavro
from fastavro.schema import to_parsing_canonical_form

from farandole.artifacts.local import sync_names, write_whole
from farandole.errors import ConfigError, StoreError
from farandole.ids import is_topic, sha256

SCHEMA = {
    "type": "record",
    "name": "ArchivedRecord",
    "namespace": "farandole.archive",
    "doc": "One record of a topic, as it stood there.",
    "fields": [
        {"name": "topic", "type": "string"},
        {"name": "partition", "type": "int"},
        {"name": "offset", "type": "long"},
        {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "key", "type": ["null", "bytes"]},
        {"name": "value", "type": ["null", "bytes"]},
        {
            "name": "headers",
            "type": {
                "type": "array",
                "items": {
                    "type": "record",
                    "name": "Header",
                    "fields": [{"name": "name", "type": "string"}, {"name": "value", "type": "bytes"}],
                },
            },
        },
    ],
}
"""Schema of every file."""

_NAME = re.compile(r"(\d{20})-(\d{20})\.avro\Z")

_PARSED = fastavro.parse_schema(SCHEMA)
_CANONICAL = to_parsing_canonical_form(_PARSED)
_PLAIN = fastavro.parse_schema(json.loads(_CANONICAL))
"""The same bytes without the logical type: producers write times that no calendar has, and these are kept, too."""


@dataclass(frozen=True, slots=True)
class Archived:
    """One record; `timestamp_ms` is the log's."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Span:
    """One file: what it covers, and what it holds."""

    topic: str
    partition: int
    first: int
    end: int
    path: Path


@dataclass(frozen=True, slots=True)
class Content:
    """What the head of a file says of it; instants in ms, None where it has no records."""

    records: int
    oldest_ms: int | None
    newest_ms: int | None
    size: int


class Archive:
    """The files under one folder, which is made when something is written first."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._durable: set[str] = set()

    def spans(self, topic: str, partition: int) -> list[Span]:
        """The files of a partition, by offset."""
        folder = self._folder(topic, partition)
        names = sorted(path.name for path in folder.glob("*.avro")) if folder.is_dir() else []
        found = [(match, name) for name in names if (match := _NAME.match(name))]
        return [Span(topic, partition, int(match[1]), int(match[2]), folder / name) for match, name in found]

    def all_spans(self) -> list[Span]:
        """Every file, by topic, partition and offset."""
        folders = sorted(
            (path.parent.name, int(path.name))
            for path in self._root.glob("*/*")
            if path.is_dir() and path.name.isdecimal()
        )
        return [span for topic, partition in folders for span in self.spans(topic, partition)]

    def write(self, topic: str, partition: int, first: int, end: int, records: Sequence[Archived]) -> Span:
        """Write the file of a range; one that is there already, whole, is left alone.

        Raises:
            TransportError: it cannot be written now.
        """
        path = self._folder(topic, partition) / f"{first:020d}-{end:020d}.avro"
        try:
            if not path.exists():
                write_whole(path, _encoded(records, f"{topic}/{partition}/{records[0].offset if records else first}"))
                if topic not in self._durable:  # its folder may be new, too, or of one that died before it was synced
                    sync_names(path.parent)
                    self._durable.add(topic)
        except OSError as bad:
            raise StoreError(
                f"archive {path}: expected to write {len(records)} records, but {bad}. They stay on the topic; the "
                "next run begins there again"
            ) from bad
        return Span(topic, partition, first, end, path)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only writer; what an earlier one left half done is cleared away.

        Raises:
            ConfigError: another process is writing, or the folder cannot be written, or not be locked.
        """
        try:
            is_new = not self._root.is_dir()
            self._root.mkdir(parents=True, exist_ok=True)
            lock = (self._root / ".lock").open("w")
            if is_new:
                sync_names(self._root / ".lock")
        except OSError as bad:
            raise ConfigError(f"archive {self._root}: expected a folder to write to, but {bad}") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(
                    f"archive {self._root}: expected to be the only writer, but another `archive run` is at work. "
                    "Nothing was written"
                ) from None
            except OSError as bad:
                raise ConfigError(
                    f"archive {self._root}: expected a folder that can be locked, but {bad}. Nothing was written; "
                    "choose a file system that knows locks"
                ) from None
            for half in self._root.glob("*/*/.*.avro.*"):
                half.unlink(missing_ok=True)
            yield

    def _folder(self, topic: str, partition: int) -> Path:
        if not is_topic(topic):
            raise ConfigError(f"archive: expected the name of a topic, but found {topic[:100]!r}")
        return self._root / topic / str(partition)


def read_file(path: Path) -> Iterator[Archived]:
    """The records of a file, in order; that it is whole is known, and told, at its end.

    Raises:
        TransportError: it is no such file, or damaged.
    """
    count, checksum = 0, 0
    try:
        with path.open("rb") as file:
            reader = fastavro.block_reader(file)
            told = json.loads(reader.metadata["farandole.content"])
            if to_parsing_canonical_form(reader.writer_schema) != _CANONICAL:
                raise ValueError("its schema is another one than that of our files")
            for row in _rows(reader):
                record = _record(row)
                count, checksum = count + 1, _checksum(record, checksum)
                yield record
        if (count, checksum) != (told["records"], told.get("crc32", checksum)):
            raise ValueError(f"{count} of {told['records']} records are there, or some are not as they were written")
    except Exception as bad:  # damaged bytes raise whatever comes of them
        raise StoreError(f"archive {path}: expected a whole file of ours, but it cannot be read: {bad}") from None


def _checksum(record: Archived, before: int) -> int:
    """The CRC-32 of all records so far: Avro's blocks have none, and may be read although a bit has changed."""
    head = f"{record.topic}/{record.partition}/{record.offset}/{record.timestamp_ms}".encode()
    parts = [head, record.key or b"", record.value or b"", *(name.encode() + value for name, value in record.headers)]
    return zlib.crc32(b"\0".join(parts), before)


def content_of(path: Path) -> Content:
    """What a file's head says.

    Raises:
        TransportError: it is no such file.
    """
    try:
        with path.open("rb") as file:
            told = json.loads(fastavro.reader(file).metadata["farandole.content"])
        return Content(told["records"], told["oldest_ms"], told["newest_ms"], path.stat().st_size)
    except Exception as bad:
        raise StoreError(f"archive {path}: expected a file of ours, but its head cannot be read: {bad}") from None


def _rows(blocks: Iterable[Any]) -> Iterator[Mapping[str, Any]]:
    for block in blocks:
        for _ in range(block.num_records):
            yield cast(Mapping[str, Any], fastavro.schemaless_reader(block.bytes_, _PLAIN, None))


def _record(row: Mapping[str, Any]) -> Archived:
    headers = [(each["name"], each["value"]) for each in row["headers"]]
    return Archived(row["topic"], row["partition"], row["offset"], row["timestamp"], row["key"], row["value"], headers)


def _encoded(records: Sequence[Archived], place: str) -> bytes:
    # The marker between blocks is random by default: the same records shall make the same file.
    marker = bytes.fromhex(sha256(place.encode()))[:16]
    instants = [record.timestamp_ms for record in records]
    checksum = reduce(lambda before, record: _checksum(record, before), records, 0)
    content = {
        "records": len(records),
        "oldest_ms": min(instants, default=None),
        "newest_ms": max(instants, default=None),
        "crc32": checksum,
    }
    file = io.BytesIO()
    rows = (
        {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": record.timestamp_ms,
            "key": record.key,
            "value": record.value,
            "headers": [{"name": name, "value": value} for name, value in record.headers],
        }
        for record in records
    )
    fastavro.writer(
        file, _PARSED, rows, codec="deflate", sync_marker=marker,
        metadata={"farandole.content": json.dumps(content)},
    )  # fmt: skip
    return file.getvalue()
