"""Groups in memory as their members call on them: each call alone with the broker."""

from farandole.transport.memory.groups import Assigned, Join, Standing
from farandole.transport.memory.hub import Hub


class HubMeeting:
    """Implements `Meeting` on the hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._condition = hub.condition()

    def standing(self, group: str, member_id: str) -> tuple[Standing, Assigned | None]:
        """What a member has to do, and its share."""
        with self._hub as broker:
            standing = broker.heartbeat(group, member_id)
            return standing, broker.assigned(group, member_id) if standing is Standing.ASSIGNED else None

    def join(self, group: str, join: Join) -> str:
        """Join, or join again."""
        with self._hub as broker:
            return broker.join(group, join)

    def leave(self, group: str, member_id: str) -> None:
        """Leave."""
        with self._hub as broker:
            broker.leave(group, member_id)

    def monotonic(self) -> float:
        """The clock of the hub."""
        return self._hub.clock.monotonic()

    def pause(self, seconds: float) -> bool:
        """Wait, if the clock is real."""
        with self._hub:
            return self._hub.wait(self._condition, seconds)
