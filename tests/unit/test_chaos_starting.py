"""Where the time of a start goes, from what a process logged."""

from datetime import UTC, datetime

import pytest

from farandole.testing.chaos.starting import Start, starts

BEGAN = datetime(2026, 1, 2, 12, 0, 0, 500_000, tzinfo=UTC)
LOG = """\
11:59:50.000 INFO group: ns.canary.a1 has started, after 0.70 s of processor time
11:59:51.000 INFO group: joining ns.canary as ns.canary.a1
11:59:52.000 INFO group: took over 2 partitions, has 2
12:00:01.300 INFO group: ns.canary.a1 has started, after 0.48 s of processor time
12:00:01.500 INFO group: joining ns.canary as ns.canary.a1
12:00:01.600 WARNING runtime: canary-7/right attempt 1 failed (exception): took over
12:00:02.750 INFO group: took over 3 partitions, has 3
12:00:03.750 INFO group: took over 1 partitions, has 4
12:00:09.000 INFO group: ns.canary.a1 has started, after 0.50 s of processor time
12:00:09.100 INFO group: joining ns.canary as ns.canary.a1
"""


def test_start_is_told_from_its_beginning_to_its_first_partitions() -> None:
    (only,) = starts(LOG, BEGAN)

    assert only.processor_s == 0.48
    assert only.joining_s == pytest.approx(1.0)
    assert only.taken_s == pytest.approx(2.25)
    assert only.group_s == pytest.approx(1.25)


def test_start_over_midnight_takes_seconds_and_not_a_day() -> None:
    began = datetime(2026, 1, 2, 23, 59, 59, tzinfo=UTC)
    log = "".join(LOG.splitlines(keepends=True)[3:7]).replace("12:00:01", "23:59:59").replace("12:00:02", "00:00:00")

    (only,) = starts(log, began)

    assert only == Start(processor_s=0.48, joining_s=0.5, taken_s=1.75)
