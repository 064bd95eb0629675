"""Whether a transaction of which nobody told the end has committed (R4).

Asked after the producer was renewed, so that nothing can be added to the transaction any
more, with stable positions of *every* partition that the transaction named: judging by one
of them doubled results, because its next owner may have committed over it.
"""

from collections.abc import Collection, Mapping

from farandole.transport.metadata import decode
from farandole.transport.port import Position, TopicPartition


def judge(positions: Mapping[TopicPartition, Position | None], writer: str, number: int) -> bool:
    """Whether any of the positions was committed by this writer in this transaction.

    True is final even if some partitions are missing; False counts only if none is.

    Raises:
        MetadataUnreadable: no answer can be given.
    """
    return any(_is_ours(position, writer, number) for position in positions.values())


def judge_all(
    asked: Collection[TopicPartition], positions: Mapping[TopicPartition, Position | None], writer: str, number: int
) -> bool | None:
    """As `judge`, but None while partitions that were asked for are still pending: ask for all of them again.

    Raises:
        MetadataUnreadable: no answer can be given.
    """
    if judge(positions, writer, number):
        return True
    return False if all(each in positions for each in asked) else None


def _is_ours(position: Position | None, writer: str, number: int) -> bool:
    if position is None:
        return False
    found = decode(position.metadata)
    return found.number == number and found.writer == writer
