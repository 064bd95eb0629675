"""What a start says that did not reach the log: whether it may have begun, and whether trying again can help."""

import asyncio
from pathlib import Path

import pytest

from farandole import Client, TransportError, agent, pipeline
from farandole.client.applying import apply, plan
from farandole.client.planning import Deployment
from farandole.errors import AccessDenied, NotReady
from farandole.events.topics import Topics
from farandole.transport.port import NewRecord
from farandole.transport.sqlite import SqliteSettings, SqliteTransport


@agent
def one(n: int) -> int:
    """The number."""
    return n


@pipeline(owner="tests@example.org")
def alone(n: int) -> int:
    """One step."""
    return one(n)


@pytest.mark.parametrize("direct", [False, True], ids=["by command", "directly"])
@pytest.mark.parametrize(("kind", "may_have_begun"), [(AccessDenied, False), (NotReady, False), (TransportError, True)])
def test_start_that_was_not_written_tells_so_by_the_class_of_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[TransportError], may_have_begun: bool, direct: bool
) -> None:
    """A missing right was told as what may have begun, and as what may be sent again."""
    transport, topics = SqliteTransport(SqliteSettings(tmp_path / "log.db")), Topics("sending")
    apply(transport, plan(transport, topics, Deployment("u", tuple(alone.agents), (), (alone.definition,))))

    async def start() -> None:
        async with Client(transport, "sending", direct=direct) as client:

            async def refuse(record: NewRecord) -> tuple[int, int]:
                raise kind(f"{record.topic}: why it was not")

            monkeypatch.setattr(client.session.edge, "send", refuse)
            await client.start(alone, 1)

    with pytest.raises(TransportError, match="why it was not") as told:
        asyncio.run(start())

    assert told.type is kind
    assert ("the run may have begun" in str(told.value)) == (may_have_begun and direct)
    assert ("safe" in str(told.value)) == (not direct and kind is not AccessDenied)
