"""The conformance suite on the log in memory: in real time with blocking waits, and in virtual time."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

import pytest

from farandole.clock import ManualClock
from farandole.testing.conformance import CASES, Case, Kit, check_transport
from farandole.transport.memory import MemoryTransport
from farandole.transport.port import NewRecord, Position, TopicPartition, Transport

# Long enough that time which passes between the steps of a case ends no transaction.
TRANSACTION_TIMEOUT_SECONDS = 600.0


def leave_open(
    transport: Transport,
    client_id: str,
    records: Sequence[NewRecord],
    group: str,
    positions: Mapping[TopicPartition, Position],
) -> None:
    """A transaction in the broker that nobody will end."""
    assert isinstance(transport, MemoryTransport)
    with transport.hub as broker:
        writer = broker.init(client_id, TRANSACTION_TIMEOUT_SECONDS)
        for record in records:
            broker.append_in(writer, record)
        if positions:
            broker.add_positions(writer, group, "", -1, positions)


def check_case(case: Case, kit: Kit) -> None:
    """The case asserts by itself."""
    case.run(kit)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_memory_in_real_time_conforms(case: Case) -> None:
    kit = Kit(MemoryTransport, hang=leave_open, settle=timedelta(seconds=20), session=timedelta(milliseconds=300))

    check_case(case, kit)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_memory_in_virtual_time_conforms(case: Case) -> None:
    clock = ManualClock()
    kit = Kit(lambda: MemoryTransport(clock), hang=leave_open, clock=clock)

    check_case(case, kit)


def test_a_transport_that_breaks_a_claim_fails_with_the_name_of_the_case() -> None:
    def hang_nothing(
        transport: Transport,
        client_id: str,
        records: Sequence[NewRecord],
        group: str,
        positions: Mapping[TopicPartition, Position],
    ) -> None:
        """A hook that does not do what it should, so that cases about open transactions cannot hold."""

    with pytest.raises(ExceptionGroup) as failed:
        check_transport(
            MemoryTransport,
            hang=hang_nothing,
            settle=timedelta(milliseconds=500),
            session=timedelta(milliseconds=200),
        )

    names = {note.removeprefix("conformance case: ") for each in failed.value.exceptions for note in each.__notes__}
    assert "an_open_transaction_holds_committed_readers_back_and_ends_differ" in names
    assert names < {case.name for case in CASES}
