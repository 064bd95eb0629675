"""The chain, whose second step fails once in one run of ten."""

from dataclasses import dataclass

from farandole import Context, Retry, RetryableStepError, agent, pipeline


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


@agent(timeout="5s", retry=Retry(attempts=3, base="10ms"))
async def second(ctx: Context, parcel: Parcel) -> Parcel:
    """Pass it on, but the tenth only at its second attempt."""
    if parcel.number % 10 == 0 and ctx.attempt == 1:
        raise RetryableStepError("the tenth fails once")
    return parcel


@agent(timeout="5s")
async def third(parcel: Parcel) -> Parcel:
    """Pass it on."""
    return parcel


@pipeline(owner="bench@example.org")
def flaky(parcel: Parcel) -> Parcel:
    """Three hops."""
    return third(second(first(parcel)))
