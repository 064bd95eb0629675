"""What the shell offers after a Tab: runs, topics, pipelines and agents that are there.

A completion is a convenience while somebody types: it has a second, and whatever goes wrong it says nothing. Imports
nothing heavy until a name is asked for.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from farandole.cli.settings import Settings

WITHIN_S = 1.0
"""Longest that somebody waits for a Tab; a person takes what is slower for broken."""

OFFERED_MAX = 50
"""Names offered: more than a screen helps nobody."""


def run_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """Runs, the latest first."""

    def ask(settings: "Settings") -> Iterable[str]:
        from farandole.cli.connect import with_client
        from farandole.client.query import list_runs

        return [row.run for row in with_client(settings, lambda client: list_runs(client.session, limit=0))]

    return _offered(ctx, incomplete, ask)


def topics(ctx: typer.Context, incomplete: str) -> list[str]:
    """Topics of the namespace, then others."""

    def ask(settings: "Settings") -> Iterable[str]:
        from farandole.cli.connect import require_made, transport_of

        transport = transport_of(settings)
        require_made(transport, settings)
        admin = transport.admin()
        try:
            own = f"{settings.namespace}."
            return sorted(admin.topics(), key=lambda name: (not name.startswith(own), name))
        finally:
            admin.close()

    return _offered(ctx, incomplete, ask)


def pipelines(ctx: typer.Context, incomplete: str) -> list[str]:
    """Applied pipelines."""

    def ask(settings: "Settings") -> Iterable[str]:
        from farandole.cli.connect import with_client

        return sorted(with_client(settings, lambda client: client.session.book.pipelines()))

    return _offered(ctx, incomplete, ask)


def agents(ctx: typer.Context, incomplete: str) -> list[str]:
    """Applied agents."""

    def ask(settings: "Settings") -> Iterable[str]:
        from farandole.cli.connect import with_client

        return sorted(with_client(settings, lambda client: client.session.book.owners()))

    return _offered(ctx, incomplete, ask)


def _offered(ctx: typer.Context, incomplete: str, ask: Callable[["Settings"], Iterable[str]]) -> list[str]:
    """The names that begin so, if they are told in time; none if anything is wrong."""
    found: list[str] = []

    def look() -> None:
        from contextlib import suppress

        from farandole.cli.connect import settings_of

        with suppress(Exception):
            given = ctx.params
            settings = settings_of(given.get("config"), given.get("bootstrap"), given.get("namespace"))
            found.extend(name for name in ask(settings) if name.startswith(incomplete))

    logging.disable()  # a line of ours would stand in the middle of what is being typed
    try:
        looking = threading.Thread(target=look, daemon=True)
        looking.start()
        looking.join(WITHIN_S)
    finally:
        logging.disable(logging.NOTSET)
    return [] if looking.is_alive() else found[:OFFERED_MAX]
