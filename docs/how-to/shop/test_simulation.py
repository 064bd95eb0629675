"""What must be true of the shop, whatever happens to its processes. Run by pytest and by `farandole simulate`."""

import random
from collections.abc import Callable

import outside
import pytest
from careful import careful
from naive import naive

from farandole.testing.simulated import Report, Seen, Simulation


def an_order(draw: random.Random) -> dict[str, object]:
    """What one run is started with."""
    return {"order": f"o-{draw.getrandbits(32):08x}", "pieces": draw.randint(1, 5)}


shop_as_it_was = Simulation(naive, params=an_order)
shop = Simulation(careful, params=an_order)


@shop.before
@shop_as_it_was.before
def nothing_has_happened() -> None:
    outside.bank, outside.warehouse = outside.Bank(), outside.Warehouse()


@shop.invariant
@shop_as_it_was.invariant
def no_order_is_charged_twice(seen: Seen) -> None:
    for order, charges in seen.by("charged", "order").items():
        assert len(charges) == 1, f"{order} was charged {len(charges)} times"


@shop.invariant
@shop_as_it_was.invariant
def who_has_lost_a_step_writes_no_more(seen: Seen) -> None:
    for order, writes in seen.by("reserved", "order").items():
        tokens = [each.token for each in writes]
        assert tokens == sorted(tokens), f"{order}: an older writer overwrote a newer one"


@shop.invariant
@shop_as_it_was.invariant
def what_succeeded_was_paid_and_reserved(seen: Seen) -> None:
    for run in seen.runs:
        if run.succeeded:
            assert run.params["order"] in seen.by("charged", "order"), f"{run.id} was never charged"
            assert run.params["order"] in seen.by("reserved", "order"), f"{run.id} was never reserved"


def test_the_shop_survives_whatever_happens(simulated: Callable[..., Report]) -> None:
    report = simulated(shop, seeds=40)

    assert report.repeated > 0, "handlers ran twice, and nobody paid twice"


def test_the_naive_shop_is_found_out(simulated: Callable[..., Report]) -> None:
    with pytest.raises(AssertionError, match=r"charged \d times|an older writer"):
        simulated(shop_as_it_was)
