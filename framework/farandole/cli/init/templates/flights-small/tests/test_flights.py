"""The pipeline in memory, on a virtual clock: no broker, and no back-off is waited for."""

from flights import Day, clean, flights

from farandole.testing.harness import Harness


def test_a_day_s_flights_are_counted() -> None:
    tally = clean.handler(Day("2013-01-01", "2013-01-01.csv"))

    assert (tally.departed, tally.cancelled) == (238, 2)


def test_the_report_counts_every_day_although_one_fails_twice() -> None:
    run = Harness(flights).fail(clean, times=2).run(1)

    assert run.outcome == "succeeded"
    assert run.result.days == 3
