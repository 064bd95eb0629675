"""The conformance suite on the embedded log, unchanged; and with every part in a process's own transport."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from farandole.testing.conformance import CASES, Case, Kit
from farandole.transport.port import NewRecord, Position, TopicPartition, Transport
from farandole.transport.sqlite import SqliteSettings, SqliteTransport
from farandole.transport.sqlite.file import File
from farandole.transport.sqlite.transactions import leave_open


def hang(
    transport: Transport,
    client_id: str,
    records: Sequence[NewRecord],
    group: str,
    positions: Mapping[TopicPartition, Position],
) -> None:
    """A transaction on the log that nobody will end."""
    assert isinstance(transport, SqliteTransport)
    file = File(transport.settings)
    leave_open(file, client_id, records, group, positions)
    file.close()


@pytest.fixture
def make(tmp_path: Path) -> Callable[[], Transport]:
    """Transports of one log."""
    return lambda: SqliteTransport(SqliteSettings(tmp_path / ".farandole" / "log.db"))


def check_case(case: Case, kit: Kit) -> None:
    """The case asserts by itself."""
    case.run(kit)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_sqlite_conforms(case: Case, make: Callable[[], Transport]) -> None:
    kit = Kit(make, hang=hang, settle=timedelta(seconds=20), session=timedelta(milliseconds=600))

    check_case(case, kit)
