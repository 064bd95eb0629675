"""Faults of the simulation: named, drawn from the seed, and left out one by one."""

import random

import pytest

from farandole.testing.simulation.faults import (
    CALL_FATES,
    GROUPS,
    OFTEN,
    REWIND,
    STEP_KINDS,
    Chaos,
    drawn_rates,
    kind_of,
)

NONE = dict.fromkeys((kind for kinds in GROUPS.values() for kind in kinds), 0.0)


def struck(chaos: Chaos, group: str, opportunities: int) -> dict[int, tuple[str, float]]:
    """What struck at which opportunity, and the first draw that says how."""
    found = {}
    for number in range(opportunities):
        if (it := chaos.strikes(group)) is not None:
            found[number] = it[0], it[1].random()
    return found


def test_a_seed_strikes_the_same_twice() -> None:
    rates = {**NONE, "crash": 0.1, "pause": 0.1}

    assert struck(Chaos(1, rates), "step", 200) == struck(Chaos(1, rates), "step", 200)
    assert struck(Chaos(1, rates), "step", 200) != struck(Chaos(2, rates), "step", 200)


def test_what_struck_is_told_by_name() -> None:
    chaos = Chaos(1, {**NONE, "crash": 0.1, "lost": 0.1})

    steps, calls = struck(chaos, "step", 50), struck(chaos, "call", 50)

    assert chaos.told == [f"crash@{n}" for n in steps] + [f"lost@{n}" for n in calls]
    assert {kind_of(name) for name in chaos.told} == {"crash", "lost"}


def test_a_schedule_strikes_where_the_seed_did_and_in_the_same_way() -> None:
    rates = {**NONE, "crash": 0.05, "leap": 0.05}
    chaos = Chaos(1, rates)
    first = struck(chaos, "step", 200)

    again = struck(Chaos(1, rates, chaos.told), "step", 200)

    assert len(first) > 5
    assert again == first


def test_a_part_of_a_schedule_leaves_the_others_as_they_were() -> None:
    rates = {**NONE, "crash": 0.05, "leap": 0.05}
    chaos = Chaos(1, rates)
    whole = struck(chaos, "step", 200)

    part = struck(Chaos(1, rates, chaos.told[1:]), "step", 200)

    left_out = min(whole)
    assert part == {number: how for number, how in whole.items() if number != left_out}


def test_nothing_strikes_when_it_is_over() -> None:
    chaos = Chaos(1, {**NONE, "crash": 1.0})
    chaos.is_over = True

    assert struck(chaos, "step", 20) == {}


def test_a_name_that_is_no_fault_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a fault such as crash@12"):
        Chaos(1, NONE, ["earthquake@1"])


def test_rates_of_all_kinds_are_drawn_and_each_is_nothing_now_and_then() -> None:
    drawn = [drawn_rates(random.Random(seed), random.Random(seed)) for seed in range(100)]

    for kind in (kind for kinds in GROUPS.values() for kind in kinds):
        rates = {each[kind] for each in drawn}
        assert 0.0 in rates
        assert len(rates) > 1
    alike = [fate for fate in CALL_FATES if fate != "refused"]
    assert all(len({each[fate] for fate in alike}) == 1 for each in drawn)


def test_where_only_some_kinds_may_strike_the_others_never_do() -> None:
    drawn = [drawn_rates(random.Random(seed), random.Random(seed), OFTEN) for seed in range(20)]

    assert all({kind for kind in STEP_KINDS if each[kind]} == set(OFTEN) for each in drawn)


def test_what_is_drawn_apart_leaves_the_other_faults_where_they_were() -> None:
    """A seed lives as it did before there was such a kind, until one has struck it."""
    without, beside = ({**NONE, "crash": 0.1, REWIND: rate} for rate in (0.0, 0.3))
    alone = struck(Chaos(1, without), "step", 200)
    chaos, steps = Chaos(1, beside), {}

    for number in range(200):
        chaos.strikes("keeper")
        if (it := chaos.strikes("step")) is not None:
            steps[number] = it[0], it[1].random()

    assert {kind_of(name) for name in chaos.told} == {"crash", REWIND}
    assert steps == alone
