"""Three steps that hand a block of bytes on, another one each time: large enough, it travels as a claim check."""

import os
from dataclasses import dataclass

from farandole import agent, pipeline


@dataclass(frozen=True, slots=True)
class Block:
    """Bytes, and a number that makes each block another one."""

    number: int
    body: bytes


@agent(timeout="5s")
async def fill(size: int) -> Block:
    """A block of so many bytes, unlike any other: the store keeps what is the same once."""
    return Block(0, os.urandom(8) + bytes(size - 8))


@agent(timeout="5s")
async def change(block: Block) -> Block:
    """Another block, as large."""
    return Block(block.number + 1, os.urandom(8) + block.body[8:])


@agent(timeout="5s")
async def weigh(block: Block) -> int:
    """How large it was."""
    return len(block.body)


@pipeline(owner="bench@example.org")
def large(size: int) -> int:
    """Fill, change, weigh."""
    return weigh(change(fill(size)))
