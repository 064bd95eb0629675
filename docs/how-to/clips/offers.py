"""Three are asked, two answers are enough: joins, a step that may be skipped, and one that waits for all."""

from dataclasses import dataclass

from farandole import Context, agent, pipeline


@dataclass(frozen=True)
class Offer:
    """What one of them asks."""

    price: float


@agent
def ask(house: str) -> Offer:
    """Ask one house."""
    return Offer(float(len(house)))


@agent
def best(one: Offer | None, two: Offer | None, three: Offer | None) -> float:
    """The lowest of those that came in time."""
    return min(each.price for each in (one, two, three) if each is not None)


@agent
def close(ctx: Context, house: str) -> None:
    """Write down that the inquiry is over."""
    ctx.logger.info("%s is over, asked by %s", ctx.run_id, house)


@pipeline(owner="clips@example.org", deadline="10m")
def offers(house: str) -> float | None:
    """The best of two offers out of three; None where fewer than two came."""
    asked = ask.options(on_dead_letter="skip", deadline="1m")
    one, two, three = asked(house), asked(house), asked.options(name="third")(house)
    lowest = best.options(join="n_of(2)")(one, two, three)
    close.after(one, two, three)(house)
    return lowest
