"""`farandole simulate`: a unit's pipelines under simulated faults, with the author's own invariants."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from farandole.cli.options import Json, UnitPath

if TYPE_CHECKING:
    from farandole.cli.units import Named
    from farandole.testing.simulated import Report, Simulation

CHECKS = "test_simul*.py"
"""Files of a unit's folder that hold `Simulation`s: pytest runs them too, and no agent process loads them."""

SAY_AFTER_S = 10.0
"""When it is said which seed is at work, and after twice as long again: most take a tenth of a second."""


def simulate(
    path: UnitPath,
    seeds: Annotated[int, typer.Option(min=1, help="How many worlds to live through.")] = 100,
    start: Annotated[int, typer.Option("--from", min=0, metavar="SEED", help="The first seed.")] = 0,
    pipeline: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this pipeline (else all of them).", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Run pipelines under crashes, redeliveries, delays and poison on virtual time. Needs no Kafka."""
    from farandole.cli.output import prints_aside
    from farandole.cli.units import load

    with prints_aside():
        chosen = simulations_of(load(path, None, "rename the folder"), pipeline)
    reports: list[Report] = []
    for each in chosen:
        with prints_aside(), saying_what_is_slow(each, SAY_AFTER_S):
            reports.append(each.check(seeds, start))
        if not json:
            _print(each, reports[-1], path)
    if json:
        _print_json(reports)
    raise typer.Exit(0 if all(report.failure is None and report.came_to_an_end for report in reports) else 1)


def simulations_of(named: "Named", pipeline: str | None) -> "list[Simulation]":
    """What the unit's folder holds, and a plain one for each pipeline that has none.

    Raises:
        ConfigError: there is no such pipeline.
        DefinitionError: a file of simulations cannot be loaded.
    """
    from farandole.definition.loading import load_module
    from farandole.errors import ConfigError
    from farandole.testing.simulated import Simulation

    folder = named.path if named.path.is_dir() else named.path.parent
    modules = [load_module(each) for each in sorted(folder.glob(CHECKS))]
    found = [each for module in modules for each in vars(module).values() if isinstance(each, Simulation)]
    known = {each.pipeline.name for each in found}
    found += [Simulation(it) for name, it in sorted(named.unit.pipelines.items()) if name not in known]
    chosen = [each for each in found if pipeline in (None, each.pipeline.name)]
    if not chosen:
        names = ", ".join(sorted({each.pipeline.name for each in found})) or "none"
        raise ConfigError(f"{named.path}: expected one of its pipelines ({names}), but found {pipeline or 'none'}")
    return chosen


@contextmanager
def saying_what_is_slow(simulation: "Simulation", after: float) -> Iterator[None]:
    """Say on standard error which seed is at work when it takes long, a hundred tries to shrink it included."""
    over = threading.Event()

    def look() -> None:
        seed, took, say_at = simulation.seed, 0.0, after
        while not over.wait(after / 10):
            took += after / 10
            if simulation.seed != seed:
                seed, took, say_at = simulation.seed, 0.0, after
            elif seed is not None and took >= say_at:
                name = simulation.pipeline.name
                typer.echo(f"still at work: {name}, seed {seed}, for {took:.0f} s; Ctrl-C ends it", err=True)
                say_at *= 2

    looking = threading.Thread(target=look, name="farandole-slow-seeds", daemon=True)
    looking.start()
    try:
        yield
    finally:
        over.set()
        looking.join()


def _print(simulation: "Simulation", report: "Report", path: Path) -> None:
    if report.failure is not None:
        typer.echo(str(report.failure))
        again = f"farandole simulate {path} --pipeline {report.pipeline} --from {report.failure.seed} --seeds 1"
        typer.echo(f"\nagain: {again}\n")
    else:
        typer.echo(str(report))
    if not simulation.invariants:
        typer.echo(f"  only that every run ends was checked: {CHECKS} beside the agents may say more")


def _print_json(reports: "list[Report]") -> None:
    from farandole.cli.output import print_json

    print_json(
        {
            "pipelines": [
                {
                    "pipeline": each.pipeline,
                    "seeds": each.seeds,
                    "calls": each.calls,
                    "repeated": each.repeated,
                    "effects": each.effects,
                    "outcomes": dict(each.outcomes),
                    "came_to_an_end": each.came_to_an_end,
                    "failure": None
                    if each.failure is None
                    else {
                        "seed": each.failure.seed,
                        "invariant": each.failure.invariant,
                        "error": each.failure.error,
                        "mishaps": each.failure.mishaps,
                        "repeats": each.failure.repeats,
                        "story": each.failure.story,
                    },
                }
                for each in reports
            ]
        }
    )
