"""A seed on two stages, and the first answer in which they differ."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from farandole.testing.twin.embedded import SqliteStage
from farandole.testing.twin.operations import Operation, script_of
from farandole.testing.twin.play import Answer, play
from farandole.testing.twin.stages import KafkaStage, MemoryStage, Stage

STAGES: Final[Mapping[str, Callable[[str], Stage]]] = {
    "memory": MemoryStage,
    "kafka": KafkaStage,
    "sqlite": SqliteStage,
}
"""By name; each is given the address of a broker, and may do without."""

SUSPECT_S: Final = 0.075
"""A transaction that took as long may have made the Kafka member replace its producer by itself, which fences whoever
took its id meanwhile: then a difference is no news, and the seed is played again. Source: `kafka/transactions.py`."""

PLAYS_MAX: Final = 4
"""Plays of a seed in all; a machine that is slow each time is told as a difference."""

SHOWN: Final = 8
"""Operations shown before a difference."""


def difference(
    seed: int,
    stage: Callable[[], Stage],
    reference: Callable[[], Stage] = MemoryStage,
    say: Callable[[str], object] = lambda line: None,
) -> str:
    """What a stage answers otherwise than the reference, for people; empty if all is alike.

    Of the script both play what exists on the stage. `say` hears of a difference that is not believed, on Kafka only.
    """
    tested = stage()
    script = tested.scope.of(script_of(seed))
    expected = play(script, reference(), scope=tested.scope).answers
    for n in range(PLAYS_MAX):
        played = play(script, stage() if n else tested, expected)
        if played.answers == expected:
            return ""
        if not isinstance(tested, KafkaStage) or played.slowest < SUSPECT_S:
            break
        say(f"seed {seed}, play {n + 1}: another answer, and a transaction of {played.slowest:.3f} s; played again")
    return _told(seed, script, expected, played.answers)


def _told(seed: int, script: Sequence[Operation], expected: Sequence[Answer], found: Sequence[Answer]) -> str:
    at = next(n for n, (one, other) in enumerate(zip(expected, found, strict=False)) if one != other)
    before = [f"  {what[:150]} -> {answer}" for what, answer in expected[:at] if not what.startswith("see ")]
    what, wanted, got = expected[at][0], expected[at][1], found[at][1]
    lines = [f"seed {seed}, answer {at} of {len(expected)} ({len(script)} operations), after", *before[-SHOWN:], what]
    if isinstance(wanted, dict) and isinstance(got, dict):
        lines += [f"  {key}: expected {wanted[key]}, but found {got[key]}" for key in wanted if wanted[key] != got[key]]
    else:
        lines.append(f"  expected {wanted}, but found {got}")
    return "\n".join(line[:600] for line in lines)
