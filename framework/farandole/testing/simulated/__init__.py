"""Users' own pipelines under crashes, redeliveries, delays and poison, on virtual time: what do their handlers do then?

    simulation = Simulation(shop)

    @simulation.invariant
    def no_order_is_charged_twice(seen: Seen) -> None:
        for order, charges in seen.by("charged", "order").items():
            assert len(charges) == 1, f"{order} was charged {len(charges)} times"

The real coordinator and agents run on the simulated broker of `farandole.testing.simulation`;
handlers are called for real, in one thread. `effect()` is how a test's stand-in for a bank or a
database says what was done to it. `farandole simulate PATH` and the pytest fixture `simulated`
run seeds; a failure is shrunk and told as a story.
"""

from farandole.testing.simulated.effects import Effect, effect
from farandole.testing.simulated.seen import Seen, SeenRun
from farandole.testing.simulated.simulation import Failure, Report, Simulation

__all__ = ["Effect", "Failure", "Report", "Seen", "SeenRun", "Simulation", "effect"]
