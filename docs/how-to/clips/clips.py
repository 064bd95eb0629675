"""A film is cut into scenes, each is rated, and its owner is told: the example of `writing-pipelines.md`."""

from dataclasses import dataclass, field
from datetime import timedelta

from farandole import Context, Retry, RetryableStepError, TerminalStepError, agent, pipeline


@dataclass(frozen=True)
class Scene:
    """A part of a film."""

    number: int
    seconds: float


@dataclass(frozen=True)
class Film:
    """What was cut."""

    title: str
    scenes: list[Scene] = field(default_factory=list)
    owner: str = ""


@agent
def cut(title: str, scenes: int) -> Film:
    """Find the scenes."""
    if scenes < 1:
        raise TerminalStepError(f"expected scenes, but found {scenes}")
    return Film(title, [Scene(n, 1.5 * n) for n in range(scenes)], "ada@example.org")


@agent(isolation="process", memory="512MiB", timeout="30s", retry=Retry(attempts=5, base="200ms", cap="10s"))
def rate(scene: Scene, strict: bool = False) -> float:
    """Compute for long, in a process of its own."""
    return scene.seconds / (2 if strict else 1)


@agent(timeout="10s", publishes=["ratings"])
async def store(ctx: Context, title: str, ratings: list[float]) -> str:
    """Keep the ratings, and tell whoever reads the topic."""
    if title == "busy":
        raise RetryableStepError("the store is busy", retry_after=timedelta(seconds=30))
    ctx.logger.info("storing %s under %s", title, ctx.idempotency_key)
    ctx.publish("ratings", {"title": title, "best": max(ratings)}, key=title)
    return f"{title}:{max(ratings):g}"


@agent(on_dead_letter="skip")
def mail(to: str, place: str | None) -> None:
    """Best effort: a run goes on without it."""


@pipeline(owner="clips@example.org", deadline="1h", hold_max="7d", stop_max="5m", tags=["video"])
def clips(title: str, scenes: int = 3) -> str:
    """From a film to the place of its ratings."""
    film = cut(title, scenes)
    ratings = rate.map(film.scenes, strict=True)
    place = store(film.title, ratings)
    mail.when(film.owner != "").options(join="all_done")(film.owner, place)
    return place
