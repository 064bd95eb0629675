"""Three steps that do nothing: what is left is the framework."""

from dataclasses import dataclass

from farandole import agent, pipeline


@dataclass(frozen=True, slots=True)
class Parcel:
    """About 300 bytes as Avro."""

    name: str
    number: int
    body: str


@agent(timeout="5s")
async def first(parcel: Parcel) -> Parcel:
    """Pass it on."""
    return parcel


@agent(timeout="5s")
async def second(parcel: Parcel) -> Parcel:
    """Pass it on."""
    return parcel


@agent(timeout="5s")
async def third(parcel: Parcel) -> Parcel:
    """Pass it on."""
    return parcel


@pipeline(owner="bench@example.org")
def chain(parcel: Parcel) -> Parcel:
    """Three hops."""
    return third(second(first(parcel)))
