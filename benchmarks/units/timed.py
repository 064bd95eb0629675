"""A step that asks to be tried again at an instant it is given: a timer of the coordinator."""

import time
from datetime import timedelta

from farandole import Context, Retry, RetryableStepError, agent, pipeline


@agent(retry=Retry(attempts=2, base="1ms"))
async def wait(ctx: Context, due_s: float) -> float:
    """Fail until `due_s` (seconds since the epoch); then say how late it is."""
    left = due_s - time.time()
    if ctx.attempt == 1 and left > 0:
        raise RetryableStepError("not yet", retry_after=timedelta(seconds=left))
    return -left


@pipeline(owner="bench@example.org")
def timed(due_s: float) -> float:
    """One step."""
    return wait(due_s)
