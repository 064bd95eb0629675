"""Three steps in a row: find the words, polish them, send them."""

from dataclasses import dataclass

from farandole import Context, Retry, TerminalStepError, agent, pipeline


@dataclass(frozen=True, slots=True)
class Greeting:
    """What somebody is to be told."""

    name: str
    text: str


@agent
def compose(name: str) -> Greeting:
    """Find the words. Nobody can be greeted without a name, and trying again would not help."""
    if not name.strip():
        raise TerminalStepError(f"expected a name, but found {name!r}")
    return Greeting(name, f"hello {name}")


@agent
def polish(greeting: Greeting) -> Greeting:
    """A capital letter and a full stop."""
    return Greeting(greeting.name, f"{greeting.text.capitalize()}.")


@agent(timeout="10s", retry=Retry(attempts=3, base="500ms"))
async def send(ctx: Context, greeting: Greeting) -> Greeting:
    """Send it. A step may run more than once; `ctx.idempotency_key` tells the receiver that it is the same one."""
    ctx.logger.info("to %s: %s (key %s)", greeting.name, greeting.text, ctx.idempotency_key)
    return greeting


@pipeline(owner="you@example.org", deadline="7d")
def greetings(name: str) -> Greeting:
    """From a name to a greeting that was sent."""
    return send(polish(compose(name)))
