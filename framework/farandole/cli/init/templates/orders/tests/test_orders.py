"""The pipeline in memory, on a virtual clock: no broker, and no back-off is waited for."""

from orders import Line, Order, charge, orders, review

from farandole.testing.harness import Harness

LARGE = Order("1", "Ada", [Line("tea", 2, 750)])
SMALL = Order("2", "Ada", [Line("tea", 1, 750)])


def test_large_order_is_reviewed_and_charged_although_charging_fails_twice() -> None:
    run = Harness(orders).fail(charge, times=2).run(order=LARGE)

    assert run.outcome == "succeeded"
    assert run.attempts(charge) == 3
    assert run.result.reviewed


def test_small_order_is_not_reviewed() -> None:
    run = Harness(orders).run(order=SMALL)

    assert run.attempts(review) == 0
    assert not run.result.reviewed
