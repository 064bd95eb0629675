"""What a writer may have left open under its own name, seen to before it writes (docs/decisions/0114, 0123).

A broker that comes back may leave markers out (`forgotten` has the story). The next commit of the same id would end
such a transaction too, in each partition that both are in: what was rolled back would count; and the next abort would
undo what was committed. So it is ended as its coordinator had ended it, before the id is initialised once more, after
which nobody could tell how that was; and nothing is written while any is left.
"""

import logging
from collections.abc import Sequence

from farandole.errors import AccessDenied, ConfigError, NotReady, TransportError
from farandole.transport.kafka.forgotten import Forgotten, left_by
from farandole.transport.kafka.markers import end_own
from farandole.transport.kafka.settings import KafkaSettings

log = logging.getLogger("farandole.transport")


def end_leftovers(settings: KafkaSettings, transactional_id: str, *, is_committed: bool) -> None:
    """End them as they were ended; else refuse to go on. `is_committed`: as for `end_own`. Blocking.

    Raises:
        NotReady: the cluster does not tell yet what there is.
        TransportError: there is something of which nobody can tell how it ended, or we may not end it.
    """
    try:
        answers = end_own(settings, transactional_id, is_committed=is_committed)
    except ConfigError:
        return  # the initialisation meets it too, and tells
    except AccessDenied as error:
        raise forbidden(transactional_id, error) from error
    except TransportError as error:
        raise _unknown(transactional_id, error) from error
    if done := [answer for _, answer in answers if answer.is_done]:
        words = ", ".join(f"{done.count(each)} {each.value}" for each in dict.fromkeys(done))
        log.warning("%s: a broker had left out markers of its last transaction; written: %s", transactional_id, words)
    if left := [it for it, answer in answers if answer.is_left]:
        raise _refused(transactional_id, left)


def require_none(settings: KafkaSettings, transactional_id: str) -> None:
    """Refuse to write while an earlier transaction of this id is open somewhere that is over for its coordinator.

    Raises:
        NotReady: the cluster does not tell yet what there is.
        TransportError: there is one.
    """
    try:
        left = left_by(settings, transactional_id)
    except TransportError as error:
        raise _unknown(transactional_id, error) from error
    if left:
        raise _refused(transactional_id, left)


def forbidden(transactional_id: str, error: AccessDenied) -> TransportError:
    """What is known how it ended, and somebody else must end, before its id is initialised."""
    return TransportError(
        f"{transactional_id}: its broker has forgotten to end a transaction of its own everywhere, and we may not: "
        f"{error}. Nothing is written until `farandole transactions end` has done it"
    )


def _refused(transactional_id: str, left: Sequence[Forgotten]) -> TransportError:
    places = ", ".join(dict.fromkeys(f"{each.at.topic}/{each.at.partition}" for each in left))
    return TransportError(
        f"{transactional_id}: an earlier transaction of its own is open in {places}, and its broker has forgotten it: "
        "what is written now would commit that too. Nothing is written until it is ended; `farandole doctor` says how"
    )


def _unknown(transactional_id: str, error: TransportError) -> TransportError:
    kind = NotReady if isinstance(error, NotReady) else TransportError
    return kind(f"{transactional_id}: what it left open before is not known yet: {error}. It is asked again")
