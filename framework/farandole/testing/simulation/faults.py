"""How hostile a seed is, and each fault as a thing of its own, which may be left out of a replay.

Rates are drawn from the seed (swarm testing): a seed without a kind of fault is as valuable as
one with it, for bugs hide where one masks another. Whether the n-th opportunity of a kind is
taken is drawn, or said by a schedule; *how* it strikes is drawn from its own name. So any part
of a schedule is a schedule, in which all faults that are left strike as they did.
"""

import random
from collections.abc import Collection, Mapping

CALL_FATES = ("lost", "reply", "late", "twice", "refused")
"""What may happen to a call: it never arrives; its answer never does; it arrives much later; it arrives again then;
the broker cannot do it now, and says so (too few replicas), which aborts a transaction for certain."""

STEP_KINDS = ("crash", "pause", "leave", "skew", "leap", "deaf", "expire", "cut", "stall")
"""What may happen at a step of the world: death; a freeze; an orderly end; a wrong wall clock; a time when nobody
moves; a process whose group hears nothing of it; retention that deletes what was consumed; a process that does not
reach those who keep transactions, or groups, or the log; a broker that is not told how transactions end."""


GROUPS = {"step": STEP_KINDS, "call": CALL_FATES, "fetch": ("fetch",)}
"""Opportunities: one per step of the world, per exchange with the broker, per fetch."""


def drawn_rates(rng: random.Random) -> dict[str, float]:
    """The rates of a seed: per step in which something moved; of `fetch` and fates per call."""
    call = rng.choice((0.0, 0.01, 0.05, 0.12))
    return {
        "crash": rng.choice((0.0, 0.004, 0.015)),
        "pause": rng.choice((0.0, 0.003, 0.012)),
        "leave": rng.choice((0.0, 0.003, 0.01)),
        "skew": rng.choice((0.0, 0.0, 0.01)),
        "leap": rng.choice((0.0, 0.003, 0.01)),
        "deaf": rng.choice((0.0, 0.0, 0.004)),
        "expire": rng.choice((0.0, 0.0, 0.0, 0.03)),
        "cut": rng.choice((0.0, 0.005, 0.02)),
        "stall": rng.choice((0.0, 0.005, 0.02)),
        "fetch": rng.choice((0.0, 0.0, 0.05, 0.3)),
        **dict.fromkeys(CALL_FATES, call / len(CALL_FATES)),
        "refused": rng.choice((0.0, call / 2, 0.1)),  # most calls are none that it may befall
    }


class Chaos:
    """Strikes, or not. `told`: every fault that struck, by name, in order; its names make up a schedule."""

    def __init__(self, seed: int, rates: Mapping[str, float], schedule: Collection[str] | None = None) -> None:
        self._seed = seed
        self._draw = random.Random(f"{seed}/chaos").random
        self._rates = {group: [(kind, rates[kind]) for kind in kinds] for group, kinds in GROUPS.items()}
        self._totals = {group: sum(rate for _, rate in rates) for group, rates in self._rates.items()}
        self._seen = dict.fromkeys(GROUPS, 0)
        self._schedule = None if schedule is None else dict(_parsed(name) for name in schedule)
        self.told: list[str] = []
        self.is_over = False

    def strikes(self, group: str) -> tuple[str, random.Random] | None:
        """What strikes at this opportunity, if anything, and the draws that say how."""
        total = self._totals[group]
        if self.is_over or not total:
            return None
        number = self._seen[group]
        self._seen[group] = number + 1
        if self._schedule is not None:
            kind = self._schedule.get((group, number))
        else:
            drawn = self._draw()
            kind = None if drawn >= total else self._chosen(group, drawn)
        if kind is None:
            return None
        name = f"{kind}@{number}"
        self.told.append(name)
        return kind, random.Random(f"{self._seed}/{name}")

    def _chosen(self, group: str, drawn: float) -> str:
        for kind, rate in self._rates[group]:
            if drawn < rate:
                return kind
            drawn -= rate
        return self._rates[group][-1][0]


def _parsed(name: str) -> tuple[tuple[str, int], str]:
    kind, _, number = name.partition("@")
    group = next((group for group, kinds in GROUPS.items() if kind in kinds), None)
    if group is None or not number.isdigit():
        known = ", ".join(kind for kinds in GROUPS.values() for kind in kinds)
        raise ValueError(f"expected a fault such as crash@12 (one of {known}), but found {name!r}")
    return (group, int(number)), kind


def kind_of(name: str) -> str:
    """The kind of a fault: `crash` of `crash@12`."""
    return name.partition("@")[0]
