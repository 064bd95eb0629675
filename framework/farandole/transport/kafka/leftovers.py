"""What a writer may have left open under its own name, seen to before it writes (docs/decisions/0114, 0123).

A broker that comes back may leave markers out (`forgotten` has the story). The next commit of the same id would end
such a transaction too, in each partition that both are in: what was rolled back would count; and the next abort would
undo what was committed. So it is ended as its coordinator had ended it, before the id is initialised once more, after
which nobody could tell how that was; and nothing is written while any is left.
"""

import logging

from farandole.errors import AccessDenied, ConfigError, TransportError
from farandole.transport.kafka.forgotten import left_by
from farandole.transport.kafka.markers import end_own
from farandole.transport.kafka.settings import KafkaSettings

log = logging.getLogger("farandole.transport")


def end_leftovers(settings: KafkaSettings, transactional_id: str, *, is_committed: bool) -> None:
    """End them where it is known how, and we may say so. `is_committed`: as for `end_own`. Blocking.

    Raises:
        TransportError: it is known, and we may not; or it is not known yet what there is.
    """
    try:
        answers = end_own(settings, transactional_id, is_committed=is_committed)
    except AccessDenied as error:
        raise TransportError(
            f"{transactional_id}: its broker has forgotten to end a transaction of its own everywhere, and we may not: "
            f"{error}. Nothing is written until `farandole transactions end` has done it"
        ) from error
    except ConfigError:
        return  # the initialisation meets it too, and tells
    except TransportError as error:
        raise _unknown(transactional_id, error) from error
    if done := [each for each in answers if each.is_done]:
        words = ", ".join(f"{done.count(each)} {each.value}" for each in dict.fromkeys(done))
        log.warning("%s: a broker had left out markers of its last transaction; written: %s", transactional_id, words)


def require_none(settings: KafkaSettings, transactional_id: str) -> None:
    """Refuse to write while an earlier transaction of this id is open somewhere that is over for its coordinator.

    Raises:
        TransportError: there is one, or it is not known yet.
    """
    try:
        left = left_by(settings, transactional_id)
    except TransportError as error:
        raise _unknown(transactional_id, error) from error
    if left:
        places = ", ".join(dict.fromkeys(f"{each.at.topic}/{each.at.partition}" for each in left))
        raise TransportError(
            f"{transactional_id}: an earlier transaction of its own is open in {places}, and its broker has forgotten "
            "it: what is written now would commit that too. Nothing is written until it is ended; `farandole doctor` "
            "says how"
        )


def _unknown(transactional_id: str, error: TransportError) -> TransportError:
    return TransportError(f"{transactional_id}: what it left open before is not known yet: {error}. It is asked again")
