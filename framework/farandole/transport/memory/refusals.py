"""What the broker answers instead of doing what it was asked.

They are the core's own: the shells turn each into a verdict, a trouble or a `TransportError`.
"""


class Refusal(Exception):  # noqa: N818 - an answer, not a failure of ours
    """The broker did not do it; the text says why, in the grammar of `farandole.errors`."""


class UnknownTopic(Refusal):
    """There is no such topic, or no such partition of it; nothing is created by writing (auto-create is off)."""


class RecordTooLarge(Refusal):
    """A record exceeds the topic's `max.message.bytes`."""


class MetadataTooLong(Refusal):
    """Commit metadata exceeds what a broker takes; the positions beside it are not refused for it."""


class OutOfRange(Refusal):
    """A position is before the first record that still exists, or past the end."""


class ProducerFenced(Refusal):
    """A newer producer has initialised the same transactional id, or the transaction timed out."""


class TransactionBusy(Refusal):
    """The last transaction of this id has markers to write yet: try again when they are written."""


class StaleGeneration(Refusal):
    """The member is unknown to the group, or its generation is over (R3, R11)."""


class UnknownMember(Refusal):
    """Who wants to join again is no member any more: it joins as a new one, without its claims."""


class AssignorDiffers(Refusal):
    """The group's members use another assignor than the one who wants to join."""
