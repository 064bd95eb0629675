"""Four steps that do nothing: one, two in parallel, one that joins them."""

from dataclasses import dataclass

from farandole import agent, pipeline


@dataclass(frozen=True, slots=True)
class Parcel:
    """About 300 bytes as Avro."""

    name: str
    number: int
    body: str


@agent(timeout="5s")
async def split(parcel: Parcel) -> Parcel:
    """Pass it on."""
    return parcel


@agent(timeout="5s")
async def left(parcel: Parcel) -> Parcel:
    """Pass it on."""
    return parcel


@agent(timeout="5s")
async def right(parcel: Parcel) -> Parcel:
    """Pass it on."""
    return parcel


@agent(timeout="5s")
async def join(left: Parcel, right: Parcel) -> Parcel:
    """Pass one of them on."""
    return left


@pipeline(owner="bench@example.org")
def diamond(parcel: Parcel) -> Parcel:
    """Two branches and their join."""
    given = split(parcel)
    return join(left(given), right(given))
