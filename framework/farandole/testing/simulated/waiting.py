"""How long a world is waited for once faults are over: as long as something may still come, on virtual time.

What a run waits for may be hours away, as a retry of a supplier that is closed. Time leaps while all
rest, so that such a wait costs steps that are cheap; a run counts as stuck only when the last thing that is known
to come has come, and long after it nothing has.
"""

from datetime import timedelta

from farandole.definition.model import Definition

LEAP = timedelta(seconds=2)
"""A third of a session: everybody has a turn to say that it lives before the next one but one."""

IDLE_STEPS, IDLE_STEPS_MAX = 6, 60
"""Steps in which nothing moved until time leaps: when all rest (the caller reads at every fifth), and at the latest."""

MARGIN = timedelta(minutes=5)
"""Sessions, time-outs of transactions and watchdogs (20 s) that may come one after the other."""

SILENCE_MAX = timedelta(days=1)
"""Longest silence that a definition can ask for: 43,200 leaps, some ten seconds. Longer ones would hold up who waits
for the failure; what the log dates (a retry's `due`) is waited for all the same."""


def silence_of(definition: Definition) -> timedelta:
    """How long nothing may stand on the log of a run that is alive, after all that is dated has come."""
    steps = definition.steps.values()
    declared = [definition.stop_max, definition.deadline]
    declared += [wait for step in steps for wait in (step.timeout, step.deadline)]
    return min(SILENCE_MAX, max(wait for wait in declared if wait is not None)) + MARGIN
