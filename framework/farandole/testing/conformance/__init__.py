"""The conformance suite for transports: one set of claims, the same for memory, Kafka and whatever comes.

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
    def test_my_transport(case: Case) -> None:
        case.run(Kit(MyTransport, hang=leave_a_transaction_open))

Each case makes a transport of its own, uses names that no other case uses, waits on conditions
with a deadline, and closes what it opened. `check_transport` runs all without pytest.
"""

from collections.abc import Callable
from datetime import timedelta

from farandole.testing.conformance import clients, edges, flow, positions, records, sharing, transactions
from farandole.testing.conformance.case import Case
from farandole.testing.conformance.kit import SESSION, SETTLE, Hang, Kit
from farandole.transport.port import Transport

__all__ = ["CASES", "Case", "Hang", "Kit", "check_transport"]

CASES: tuple[Case, ...] = (
    *records.CASES,
    *transactions.CASES,
    *positions.CASES,
    *sharing.CASES,
    *flow.CASES,
    *clients.CASES,
    *edges.CASES,
)
"""Every claim, by topic."""


def check_transport(
    make: Callable[[], Transport],
    *,
    hang: Hang,
    settle: timedelta = SETTLE,
    session: timedelta = SESSION,
) -> None:
    """Run every case on transports that `make` makes.

    `settle` is the longest that anything may take, `session` that of a member which is to die.

    Raises:
        ExceptionGroup: of what failed, each with the name of its case as a note.
    """
    failures: list[Exception] = []
    for case in CASES:
        try:
            case.run(Kit(make, hang=hang, settle=settle, session=session))
        except Exception as failure:
            failure.add_note(f"conformance case: {case.name}")
            failures.append(failure)
    if failures:
        raise ExceptionGroup(f"{len(failures)} of {len(CASES)} conformance cases failed", failures)
