"""How hostile a seed is, and each fault as a thing of its own, which may be left out of a replay.

Rates are drawn from the seed (swarm testing): a seed without a kind of fault is as valuable as
one with it, for bugs hide where one masks another. Whether the n-th opportunity of a kind is
taken is drawn, or said by a schedule; *how* it strikes is drawn from its own name. So any part
of a schedule is a schedule, in which all faults that are left strike as they did.
"""

import random
from collections.abc import Collection, Mapping, Sequence

CALL_FATES = ("lost", "reply", "late", "twice", "refused")
"""What may happen to a call: it never arrives; its answer never does; it arrives much later; it arrives again then;
the broker cannot do it now, and says so (too few replicas), which aborts a transaction for certain."""

STEP_KINDS = ("crash", "pause", "leave", "skew", "leap", "deaf", "expire", "cut", "stall", "scale")
"""What may happen at a step of the world: death; a freeze; an orderly end; a wrong wall clock; a time when nobody
moves; a process whose group hears nothing of it; retention that deletes what was consumed; a process that does not
reach those who keep transactions, or groups, or the log; a broker that is not told how transactions end; a process
more, or one less, so that partitions move while their owners live."""

WEIGHTS = (0.0, 0.0, 1.0, 1.0, 3.0)
"""Of the kinds among what strikes a seed: two of five are left out, and some prevail."""

OLDER, OLDER_RATES = "older", (0.0, 0.0, 0.0, 0.2, 0.5)
"""What may befall a coordinator that begins: it is of an older version, which cannot read the definition."""

REWIND, REWIND_RATES = "rewind", (0.0, 0.0, 0.0, 0.0, 0.0, 0.01)
"""What may befall who keeps the coordinators' group: it begins anew, with a beginning of its log alone. One of six
may have it, and who is struck is so some five times: of one alone, nothing happens between it and what mends it."""

FORGET, FORGET_RATES = "forget", (0.0, 0.0, 0.0, 0.02, 0.06)
"""What may befall whoever keeps transactions: it leaves markers out of one that is decided, as a broker that comes back
may (docs/decisions/0123)."""

OFTEN, WEIGHTS_OFTEN = ("cut", "scale"), (0.0, 1.0, 4.0, 8.0)
"""Networks fail more often than machines, and people deploy and scale all day."""

ELASTIC = (*OFTEN, "stall")
"""What strikes where processes come and go all the time: partitions move while a broker is not told of ends."""

STEP_RATES = (0.001, 0.003, 0.008)
"""Of all kinds together, where nothing is at stake: if everything breaks all the time, nothing can be under way."""


GROUPS = {
    "step": STEP_KINDS,
    "call": CALL_FATES,
    "fetch": ("fetch",),
    "birth": (OLDER,),
    "keeper": (REWIND,),
    "marker": (FORGET,),
}
"""Opportunities: one per step of the world, per exchange with the broker, per fetch, per coordinator that begins; and
two more per step, of which a seed draws apart, so that none lives otherwise before such a fault has struck it."""

APART = frozenset({"keeper", "marker"})
"""Groups of opportunities that are drawn each from a source of its own."""


def drawn_rates(rng: random.Random, apart: random.Random, only: Sequence[str] = ()) -> dict[str, float]:
    """The rates of a seed: per step in which something moved; of `fetch` and fates per call.

    `apart` says how many coordinators are of an older version, and whether committed positions are lost, so that no
    other seed lives otherwise for it.
    `only`: the kinds that may strike at a step, where others shall not; the first of them twice as often.
    """
    call = rng.choice((0.0, 0.01, 0.05, 0.12))
    weights = {kind: rng.choice(WEIGHTS_OFTEN if kind in OFTEN else WEIGHTS) for kind in STEP_KINDS}
    if only:
        weights = {kind: float(kind in only) + (kind == only[0]) for kind in STEP_KINDS}
    each = rng.choice(STEP_RATES) / (sum(weights.values()) or 1.0)
    return {
        **{kind: weight * each for kind, weight in weights.items()},
        "fetch": rng.choice((0.0, 0.0, 0.05, 0.3)),
        **dict.fromkeys(CALL_FATES, call / len(CALL_FATES)),
        "refused": rng.choice((0.0, call / 2, 0.1)),  # most calls are none that it may befall
        OLDER: apart.choice(OLDER_RATES),
        REWIND: apart.choice(REWIND_RATES),
        FORGET: apart.choice(FORGET_RATES),
    }


class Chaos:
    """Strikes, or not. `told`: every fault that struck, by name, in order; its names make up a schedule."""

    def __init__(self, seed: int, rates: Mapping[str, float], schedule: Collection[str] | None = None) -> None:
        self._seed = seed
        draw = random.Random(f"{seed}/chaos").random
        self._draws = {it: random.Random(f"{seed}/{it}").random if it in APART else draw for it in GROUPS}
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
            drawn = self._draws[group]()
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
