"""One session of `dev`: starts everything in order, looks at files, hands lines to the screen, ends in order."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from farandole.cli.connect import artifacts_of, topics_of, transport_of
from farandole.cli.coordinators import coordinator_loop, coordinator_settings
from farandole.cli.dev.hearing import NAME, Logged, hear
from farandole.cli.dev.lines import Lines
from farandole.cli.dev.narrator import Narrator, Told
from farandole.cli.dev.project import alone, find_units, newcomers
from farandole.cli.dev.screen import Screen
from farandole.cli.dev.stages import APPLIED, BEGINS, OVER, READY
from farandole.cli.dev.unit import Child, Said, UnitCrew, python
from farandole.cli.settings import Settings, nearest_file
from farandole.runtime.driver import Stop, stopping_on_signals
from farandole.testing.threads import Threads

LOOK_EVERY_S = 0.25
"""How often files are looked at; an editor's save is seen within that time."""

WAIT_S = 0.1
"""Longest wait for a line before time is looked at."""

END_GRACE_S = 5.0
"""What agents get on top of their own drain budget to finish what they have begun, before they are killed."""

SUSPECTS_SHOWN = 5
"""Attempts that are named when a process has died: more do not help to find the one."""

SLOT = "dev"

FAILURES = "farandole.runtime"
"""Who logs failed attempts, with their `fingerprint`; a handler may have a field of that name."""


def run(settings: Settings, path: Path | None, config: Path | None = None) -> int:
    """Work until Ctrl-C; the exit code. `config` is the file that the settings were read from, if one was named.

    Raises:
        ConfigError: there is nothing to run, or another `dev` runs here.
        TransportError: the log cannot be used; no change of a file would mend that, so it is no reason to stay.
    """
    marker = nearest_file(Path.cwd())
    root = marker.parent if marker is not None else Path.cwd()
    units = find_units(path, root)
    stop = Stop()
    with alone(root / ".farandole"), stopping_on_signals(stop):
        _require_log(settings)
        Session(settings, units, config, newcomers(path, root)).run(stop)
    return 0


def _require_log(settings: Settings) -> None:
    """Meet the log once before anything is started: each unit would else tell of it, and wait for a save."""
    admin = transport_of(settings).admin()
    try:
        admin.topics([topics_of(settings).definitions])
    finally:
        admin.close()


class Session:
    """Everything that runs, and what it says. Belongs to the main thread; only the lines are shared."""

    def __init__(
        self, settings: Settings, units: list[Path], config: Path | None, find: Callable[[], list[Path]]
    ) -> None:
        self._settings = settings
        self._find = find
        file = str(config.absolute()) if config is not None else ""
        self._words = [file, settings.bootstrap or "", settings.namespace, settings.log.level]
        self._transport = transport_of(settings)
        self._screen = Screen()
        self._lines: Lines[Said | Told | Logged] = Lines()
        self._patience = settings.agent.drain_budget.total_seconds() + END_GRACE_S
        self._crews = {crew.name: crew for crew in (UnitCrew(unit, self._spawn, self._patience) for unit in units)}
        self._coordinator: Threads | None = None
        self._narrator: Narrator | None = None
        self._told: set[str] = set()
        hear(settings.log.level, self._lines.put)

    def run(self, stop: Stop) -> None:
        """Until somebody asks to stop."""
        try:
            for crew in self._crews.values():
                crew.begin(time.monotonic())
            look_at = time.monotonic() + LOOK_EVERY_S
            while not stop.is_set:
                self._hear()
                if self._coordinator is not None:
                    self._coordinator.check()
                now = time.monotonic()
                for crew in self._crews.values():
                    crew.step(now)
                if now >= look_at:
                    self._look()
                    look_at = time.monotonic() + LOOK_EVERY_S
            self._screen.say("ending: what has begun is finished first")
        finally:
            self._end()

    # --- starting -------------------------------------------------------------------------

    def _spawn(self, name: str, path: Path) -> Child:
        environment = {"FARANDOLE_ARTIFACTS": str(self._settings.artifacts.absolute())}
        return Child(name, python(path, self._words), environment, self._say)

    def _start_coordinator(self) -> None:
        """Once a unit is applied, for there are no topics before."""
        topics = topics_of(self._settings)
        chosen = coordinator_settings(self._settings, SLOT)
        loop = coordinator_loop(self._transport, artifacts_of(self._settings), chosen)
        self._narrator = Narrator(self._transport, topics.events, loop.partitions, self._lines.put_in_turn)
        self._coordinator = Threads([loop])
        self._coordinator.__enter__()

    def _look(self) -> None:
        known = {crew.path for crew in self._crews.values()}
        for path in self._find():
            if path not in known and path.name not in self._crews:
                crew = self._crews[path.name] = UnitCrew(path, self._spawn, self._patience)
                self._screen.say(f"{crew.name}: {_shown(path)} is new; loading it")
                crew.begin(time.monotonic())
        for crew in self._crews.values():
            files = crew.look()
            if files:
                names = ", ".join(file.name for file in files[:3]) + (" …" if len(files) > 3 else "")
                self._screen.say(f"{crew.name}: {names} changed; loading it anew")
                crew.begin(time.monotonic())

    # --- what is said ---------------------------------------------------------------------

    def _say(self, said: Said) -> None:
        """Called by a child's threads: its end waits for nobody, for somebody may wait for it."""
        put = self._lines.put if said.line is None else self._lines.put_in_turn
        put(said)

    def _hear(self) -> None:
        for said in self._lines.take(WAIT_S):
            self._take(said)

    def _take(self, said: Said | Told | Logged) -> None:
        if isinstance(said, Told):
            return self._screen.tell(said)
        if isinstance(said, Logged):
            return self._screen.log(NAME, said.fields)
        crew = self._crews[said.child.name]
        if said.line is None:
            return self._ended(crew, said.child)
        if said.stage == APPLIED:
            if self._coordinator is None and not crew.is_ending:
                self._start_coordinator()
            return crew.applied(said.child, time.monotonic())
        if said.stage == READY:
            return None if crew.is_ending else self._ready(crew, said)
        if said.stage in (BEGINS, OVER):
            return _note(said)
        if (line := _to_show(said.line)) is not None:
            self._screen.log(crew.name, line)

    def _ready(self, crew: UnitCrew, said: Said) -> None:
        took = time.monotonic() - said.child.began_at
        self._screen.say(f"{crew.name}: ready after {took:.1f} s; starts anew when {_shown(crew.path)} changes", "good")
        pipelines = said.line.get("pipelines") if isinstance(said.line, Mapping) else None
        if isinstance(pipelines, Mapping) and crew.name not in self._told:
            for name, params in pipelines.items():
                self._screen.say(f"in another terminal: farandole run start {name} --params '{params}' --wait")
        self._told.add(crew.name)

    def _ended(self, crew: UnitCrew, child: Child) -> None:
        if not crew.ended(child, time.monotonic()):
            return
        if child.is_applied:
            after = f"starting it again in {crew.restarts_after:.0f} s"
            then = "its successor loads already" if crew.is_loading else after
            self._screen.say(f"{crew.name}: its process ended with {child.code}; {then}", "bad")
            if child.under_way:
                self._screen.say(f"{crew.name}: {_suspects(list(child.under_way.values()))}", "bad")
        else:
            kept = "the agents go on as they were" if crew.is_running else "it starts when a file changes"
            self._screen.say(f"{crew.name}: it cannot be loaded; {kept}", "bad")

    # --- the end --------------------------------------------------------------------------

    def _end(self) -> None:
        for crew in self._crews.values():
            crew.end()
        until = time.monotonic() + self._patience
        try:
            while time.monotonic() < until and not all(crew.has_ended for crew in self._crews.values()):
                self._hear()  # who finds no room for a line cannot end
        finally:  # whoever reads us may be gone
            left = self._lines.close()
            for crew in self._crews.values():
                crew.wait(until)
            if self._coordinator is not None:
                self._coordinator.__exit__(None, None, None)
            if self._narrator is not None:
                self._narrator.stop()
        for said in (*left, *self._lines.close()):
            self._take(said)


def _to_show(line: Mapping[str, object] | str) -> Mapping[str, object] | str | None:
    """A line as it is shown. A failed attempt is told as an event, which has no room for its traceback alone."""
    if isinstance(line, str) or "fingerprint" not in line or line.get("logger") != FAILURES:
        return line
    return {**line, "message": "failed here:", "fingerprint": ""} if line.get("error") else None


def _note(said: Said) -> None:
    """Keep in mind which attempts a process has."""
    assert isinstance(said.line, Mapping)
    line, noted = said.line, said.child.under_way
    key = tuple(str(line.get(name)) for name in ("topic", "partition", "offset", "step", "item", "attempt"))
    if said.stage == OVER:
        noted.pop(key, None)
    else:
        item = line.get("item")
        which = f"[{item}]" if item is not None else ""
        noted[key] = f"{line.get('step')}{which}#{line.get('attempt')} of {line.get('run_id')}"


def _suspects(under_way: list[str]) -> str:
    more = f" and {len(under_way) - SUSPECTS_SHOWN} more" if len(under_way) > SUSPECTS_SHOWN else ""
    return (
        f"under way were {', '.join(under_way[:SUSPECTS_SHOWN])}{more}. If a handler ended the process it will again: "
        '`farandole run cancel RUN` ends it, and @agent(isolation="process") makes it a failure of its attempt'
    )


def _shown(path: Path) -> str:
    """A path as a person would type it from here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
