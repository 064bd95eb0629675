"""Two steps that say something: one in a thread, which fails first, one in a process of its own."""

from farandole import Context, Retry, agent, pipeline


@agent(retry=Retry(attempts=3, base="10ms"))
def speak(ctx: Context, number: int) -> int:
    """Says what it got, and fails the first time."""
    ctx.logger.info('got "%d"\nand more', number, extra={"order": "a b=c"})
    if ctx.attempt == 1:
        raise ValueError("not yet")
    return number


@agent(isolation="process")
def apart(ctx: Context, number: int) -> int:
    """Says something in a child."""
    ctx.logger.warning("in a child")
    return number + 1


@pipeline(owner="tests@example.org", deadline="5m")
def talk(number: int) -> int:
    """One after the other."""
    return apart(speak(number))
