"""The client's side of a group: joining, letting go, being given partitions.

Each `step` makes one move and calls back without holding the lock. Eager assignors (`range`)
let go of everything before they join again; cooperative ones keep it, let go only of what the
new generation takes away, and join once more so that it can be handed on.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from farandole.errors import FatalTransportError, NotJoined
from farandole.transport.memory.assignors import EAGER
from farandole.transport.memory.groups import NEVER_JOINED, Assigned, Join, Standing
from farandole.transport.memory.refusals import AssignorDiffers, UnknownMember
from farandole.transport.port import MemberSettings, Rebalance, TopicPartition

RELEASE_PAUSE = 0.005
"""Between two calls of `releasing` that did not wait by themselves, seconds."""

RELEASE_CALLS_MAX = 1_000
"""Budget of a release where time stands still and cannot end it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A member as of one moment (`GroupSnapshot`)."""

    group: str
    member_id: str
    generation: int

    def require_joined(self, client_id: str) -> None:
        """Refuse what would be accepted in any state of the group.

        Raises:
            NotJoined: it was taken before joining.
        """
        if not self.member_id or self.generation == NEVER_JOINED:
            raise NotJoined(
                f"{self.group}: expected {client_id} to have joined, but it has no member id or generation now. "
                "Nothing was sent: without them the broker would not fence a zombie (R3)"
            )


class Meeting(Protocol):
    """Where members meet: each call is one step of the log, done at once."""

    def standing(self, group: str, member_id: str) -> tuple[Standing, Assigned | None]:
        """Say that the member lives; what it has to do, and its share if it stands as assigned."""
        ...

    def join(self, group: str, join: Join) -> str:
        """Join, or join again; the member id.

        Raises:
            AssignorDiffers, UnknownMember: as `Groups.join`.
        """
        ...

    def leave(self, group: str, member_id: str) -> None:
        """Leave; its partitions are free at once."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    def pause(self, seconds: float) -> bool:
        """Let time pass; False if it does not pass by itself."""
        ...


class Membership:
    """One member's place in its group. `owned` is what is assigned and not yet let go of."""

    def __init__(
        self, meeting: Meeting, settings: MemberSettings, drop: Callable[[Collection[TopicPartition]], None]
    ) -> None:
        self._meeting = meeting
        self._settings = settings
        self._drop = drop
        self._topics: frozenset[str] = frozenset()
        self._rebalance: Rebalance | None = None
        self._member_id = ""
        self._generation = NEVER_JOINED
        self._taken = NEVER_JOINED  # the generation whose share was taken as a whole
        self._must_join = False
        self.owned: set[TopicPartition] = set()

    @property
    def topics(self) -> frozenset[str]:
        """What is subscribed."""
        return self._topics

    def subscribe(self, topics: frozenset[str], rebalance: Rebalance) -> None:
        """Join for these topics at the next step."""
        self._must_join = self._must_join or topics != self._topics
        self._topics, self._rebalance = topics, rebalance

    def snapshot(self) -> Snapshot:
        """The member as it is now.

        Raises:
            NotJoined: it has no member id or generation now.
        """
        taken = Snapshot(self._settings.group, self._member_id, self._generation)
        taken.require_joined(self._settings.client_id)
        return taken

    def step(self, add: Callable[[Collection[TopicPartition]], None]) -> bool:
        """One move of a rebalance, if one is due; whether another may follow. `add` takes what is assigned."""
        if self._rebalance is None:
            return False
        standing, assigned = self._meeting.standing(self._settings.group, self._member_id)
        if standing is Standing.UNKNOWN:
            return self._start_anew()
        if standing is Standing.REJOIN or self._must_join:
            return self._join_again()
        if assigned is not None and assigned.generation != self._taken:
            return self._take(assigned, add)
        return False

    def leave(self) -> None:
        """Let go of everything and leave."""
        if self._rebalance is not None:
            self._release(self.owned)
            self._rebalance = None
        self._meeting.leave(self._settings.group, self._member_id)
        self._member_id, self._generation, self._taken = "", NEVER_JOINED, NEVER_JOINED

    def _start_anew(self) -> bool:
        """We are no member: never were, or were removed, and others may have our partitions for a while already."""
        self._member_id, self._generation, self._taken = "", NEVER_JOINED, NEVER_JOINED
        if self.owned:
            self._forget(self.owned, lost=True)
        self._join()
        return True

    def _join_again(self) -> bool:
        if self._settings.assignor in EAGER:
            self._release(self.owned)
        self._join()
        return True

    def _take(self, assigned: Assigned, add: Callable[[Collection[TopicPartition]], None]) -> bool:
        """A new generation: let go of what it takes away, then take what it brings.

        The log may fail while we let go; then all of it is done at the next step. Whoever lets go commits in this
        generation already (R11).
        """
        self._generation = assigned.generation
        surplus = self.owned - assigned.partitions
        self._release(surplus)
        fresh = sorted(assigned.partitions - self.owned)
        if fresh:
            self.owned.update(fresh)
            add(fresh)
            assert self._rebalance is not None
            self._rebalance.assigned(fresh)
        self._taken = assigned.generation
        if surplus:
            self._join()
        return True

    def _join(self) -> None:
        self._must_join = True  # until it is done: the log may fail here, and be there again at the next step
        join = Join(
            self._settings.client_id,
            self._topics,
            self._settings.assignor,
            min(self._settings.session_timeout, self._settings.poll_interval) / timedelta(seconds=1),
            self._member_id,
            frozenset(self.owned),
            self._generation,
        )
        try:
            self._member_id = self._meeting.join(self._settings.group, join)
        except UnknownMember:  # a release took longer than our session: others have what we own
            self._start_anew()
            return
        except AssignorDiffers as refusal:
            raise FatalTransportError(str(refusal)) from refusal
        self._must_join = False

    def _release(self, partitions: Collection[TopicPartition]) -> None:
        """Ask until they may go, or the budget (half a session) is spent."""
        if not partitions:
            return
        assert self._rebalance is not None
        leaving = sorted(partitions)
        until = self._meeting.monotonic() + self._settings.session_timeout / timedelta(seconds=2)
        calls = 1
        while not self._rebalance.releasing(leaving) and self._meeting.monotonic() < until:
            calls += 1
            if not self._meeting.pause(RELEASE_PAUSE) and calls > RELEASE_CALLS_MAX:
                break
        self._forget(leaving, lost=False)

    def _forget(self, partitions: Collection[TopicPartition], *, lost: bool) -> None:
        gone = sorted(partitions)
        self.owned.difference_update(gone)
        self._drop(gone)
        assert self._rebalance is not None
        self._rebalance.gone(gone, lost=lost)
