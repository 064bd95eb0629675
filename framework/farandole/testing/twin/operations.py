"""What can be done to a log, and scripts of it from a seed. Pure: values only, no log is known here.

Names are short and of the script; a stage makes its own of them. What happens inside one
operation is certain on any correct log: two things that race are never in a script.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

LOGS: Final = ("in", "out")
"""Topics, of `PARTITIONS` partitions each; the members read `in`."""

ROUGH: Final = "rough"
"""A topic for transactions that will be refused before they are sent: whether their other records reach the log
before the refusal is known is a matter of milliseconds, so that offsets are no claim there."""

PARTITIONS: Final = 2
MEMBERS: Final = {"a": "g", "b": "h"}
"""Members, each alone in a group."""

GROUPS: Final = ("g", "h", "n")
"""`n` has no members."""

DEAD: Final = ("d1", "d2")
"""Writers that leave transactions open; so may one with a member's id."""

FLAWS: Final = ("large", "topic", "partition", "metadata")
"""What can be wrong with a transaction: a record too large, of no topic, of no partition; metadata too long."""

RARE: Final = "foreign"
"""A position of no topic: on a real broker it takes 10 s until that is in doubt."""

SENT: Final = ("metadata", RARE)
"""Flaws that a broker sees only with the positions, when it has the records."""

ASTRAY: Final = ("beyond", "nowhere", "no_partition")
"""Past the end, in no topic, in no partition of a topic that exists."""

Place = tuple[str, int]
Promise = tuple[int, int, str]
"""A position: partition of `in`, offset, metadata."""


@dataclass(frozen=True, slots=True)
class Write:
    """Records outside any transaction."""

    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Transact:
    """A member's transaction, with the snapshot of now or with the first that it took."""

    member: str
    places: tuple[Place, ...]
    promises: tuple[Promise, ...]
    flaw: str = ""
    is_old: bool = False


@dataclass(frozen=True, slots=True)
class Renew:
    """A member's producer is replaced."""

    member: str


@dataclass(frozen=True, slots=True)
class Fence:
    """A member initialises somebody else's transactional id."""

    member: str
    writer: str


@dataclass(frozen=True, slots=True)
class Hang:
    """A writer begins a transaction and is not heard of any more, until `Late`."""

    writer: str
    places: tuple[Place, ...]
    group: str
    promises: tuple[Promise, ...]


@dataclass(frozen=True, slots=True)
class Lapse:
    """As `Hang`, with a short time-out, and waits until the log has ended the transaction."""

    writer: str
    places: tuple[Place, ...]
    group: str
    promises: tuple[Promise, ...]


@dataclass(frozen=True, slots=True)
class Late:
    """A writer that hung is heard of after all: it ends its transaction."""

    writer: str
    commit: bool


@dataclass(frozen=True, slots=True)
class Shake:
    """Somebody joins a member's group and leaves it: the member's old snapshots are stale."""

    member: str


@dataclass(frozen=True, slots=True)
class Begin:
    """Start positions for a group."""

    group: str
    promises: tuple[Promise, ...]


@dataclass(frozen=True, slots=True)
class Wrong:
    """A transaction that may not even be submitted; `what`: `empty` (no positions) or `negative`."""

    member: str
    what: str


@dataclass(frozen=True, slots=True)
class Astray:
    """A reader is sent where nothing is: `what` is one of `ASTRAY`."""

    what: str


Operation = Write | Transact | Renew | Fence | Hang | Lapse | Late | Shake | Begin | Wrong | Astray

LENGTH: Final = 30
"""Operations of a script: as long as the start and the end of its play, on a real broker."""

RARE_SHARE: Final = 0.02

_WEIGHTS: Final = {
    Write: 3,
    Transact: 9,
    Renew: 2,
    Fence: 3,
    Hang: 4,
    Lapse: 1,
    Late: 4,
    Begin: 2,
    Wrong: 1,
    Astray: 1,
}


def script_of(seed: int, length: int = LENGTH) -> tuple[Operation, ...]:
    """The operations of a seed."""
    dice = random.Random(seed)
    kinds = dice.choices(list(_WEIGHTS), list(_WEIGHTS.values()), k=length)
    script = [_make(kind, dice) for kind in kinds]
    if dice.random() < 0.3:  # a rebalance takes seconds on a real broker
        member = dice.choice(list(MEMBERS))
        at = dice.randrange(length)
        script[at:at] = [Shake(member), Transact(member, _places(dice), _promises(dice), is_old=True)]
    return tuple(script)


@dataclass(frozen=True, slots=True)
class Scope:
    """What of a script exists on a log.

    `times_out`: a transaction that was left open is ended by time. `ends_late`: it may still be committed.
    `keeps_aborted`: what was aborted stands for who reads without isolation, and a transaction that was refused leaves
    a gap. `doubts`: not every flaw is refused at once.
    """

    times_out: bool = True
    ends_late: bool = True
    keeps_aborted: bool = True
    doubts: bool = True

    def of(self, script: Iterable[Operation]) -> tuple[Operation, ...]:
        """The script as far as it exists."""
        shaken: set[str] = set()
        out: list[Operation] = []
        for each in script:
            if isinstance(each, Shake):
                shaken.add(each.member)
            if self.times_out or not isinstance(each, Lapse):
                out.append(self._as_it_exists(each, shaken))
        return tuple(out)

    def _as_it_exists(self, each: Operation, shaken: set[str]) -> Operation:
        if isinstance(each, Late) and not self.ends_late:
            return Late(each.writer, commit=False)
        if not isinstance(each, Transact):
            return each
        if each.flaw == RARE and not self.doubts:
            each = replace(each, flaw="topic")
        is_refused_late = each.flaw in SENT or (each.is_old and each.member in shaken)
        return replace(each, places=()) if is_refused_late and not self.keeps_aborted else each


EVERYTHING: Final = Scope()


def _make(kind: type[Operation], dice: random.Random) -> Operation:
    member, group = dice.choice(list(MEMBERS)), dice.choice(GROUPS)
    writer = dice.choice((*DEAD, *DEAD, *MEMBERS))
    if kind is Write:
        return Write(_places(dice))
    if kind is Transact:
        flaw = "" if dice.random() < 0.8 else RARE if dice.random() < RARE_SHARE else dice.choice(FLAWS)
        return Transact(member, _places(dice, 0), _promises(dice), flaw, dice.random() < 0.3)
    if kind is Renew:
        return Renew(member)
    if kind is Fence:
        return Fence(member, dice.choice((*DEAD, *DEAD, "nobody", *MEMBERS)))
    if kind is Hang:
        return Hang(writer, _places(dice), group, _promises(dice, 0))
    if kind is Lapse:
        return Lapse(writer, _places(dice), group, _promises(dice, 0))
    if kind is Late:
        return Late(dice.choice((*DEAD, *DEAD, *MEMBERS)), dice.random() < 0.7)
    if kind is Begin:
        return Begin(group, _promises(dice))
    if kind is Wrong:
        return Wrong(member, dice.choice(("empty", "negative")))
    return Astray(dice.choice(ASTRAY))


def _places(dice: random.Random, least: int = 1) -> tuple[Place, ...]:
    some = dice.choice((least, 1, 2, 3))
    return tuple((dice.choice(LOGS), dice.randrange(PARTITIONS)) for _ in range(some))


def _promises(dice: random.Random, least: int = 1) -> tuple[Promise, ...]:
    which = dice.sample(range(PARTITIONS), dice.randint(least, PARTITIONS))
    return tuple((number, dice.randrange(50), dice.choice(("", "m", "é✓", "x" * 4095))) for number in sorted(which))
