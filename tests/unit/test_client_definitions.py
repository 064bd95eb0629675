"""How old a client's table of definitions may be, and who waits while it is read anew."""

import asyncio
from typing import cast

from farandole.client.definitions import NAMES_AGE_LIMIT, NAMES_AGE_MAX, DefinitionBook
from farandole.definition.model import Definition
from farandole.events.topics import Topics
from farandole.testing.sketch import define, node
from farandole.transport.port import Edge

OLD, NEW = define(node("a"), name="p"), define(node("a"), node("b", "a"), name="p")


class Book(DefinitionBook):
    """One whose table is read when the test lets it."""

    def __init__(self) -> None:
        super().__init__(cast(Edge, None), Topics())
        self.gate = asyncio.Event()
        self.reads = 0
        self._learn(OLD)

    async def refresh(self) -> None:
        self.reads += 1
        await self.gate.wait()
        self._learn(NEW)
        self.aged(0)

    def _learn(self, definition: Definition) -> None:
        self._names, self._definitions = {"p": definition.hash}, {definition.hash: definition}

    def aged(self, seconds: float) -> None:
        """The table was read so long ago."""
        self._read_at = asyncio.get_running_loop().time() - seconds


def test_start_does_not_wait_for_a_table_that_is_read_anew_beside_it() -> None:
    """Every start waited half a second once in five: that was the slowest hundredth of all latencies."""

    async def live() -> tuple[Definition, Definition, int]:
        book = Book()
        book.aged(NAMES_AGE_MAX + 1)
        first = await asyncio.wait_for(book.by_name("p"), 5)
        await asyncio.wait_for(book.by_name("p"), 5)
        book.gate.set()
        assert book._beside is not None
        await book._beside
        return first, await book.by_name("p"), book.reads

    first, later, reads = asyncio.run(live())

    assert (first, later, reads) == (OLD, NEW, 1)


def test_start_waits_for_the_present_table_where_the_last_is_long_ago() -> None:
    async def live() -> Definition:
        book = Book()
        book.aged(NAMES_AGE_LIMIT + 1)
        book.gate.set()
        return await book.by_name("p")

    assert asyncio.run(live()) == NEW


def test_book_that_is_closed_reads_no_more() -> None:
    async def live() -> bool:
        book = Book()
        book.aged(NAMES_AGE_MAX + 1)
        await book.by_name("p")
        await book.close()
        assert book._beside is not None
        return book._beside.cancelled()

    assert asyncio.run(live())
