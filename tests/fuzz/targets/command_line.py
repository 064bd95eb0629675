"""Targets of the command line, which `farandole.testing` must not know: loaded by the fuzzing child."""

import json

from typer.testing import CliRunner

from farandole.cli import connect
from farandole.cli.exit_codes import EXIT_CODES
from farandole.cli.main import app
from farandole.cli.settings import load_settings
from farandole.testing.fuzz.targets import written
from farandole.transport.memory import MemoryTransport


def toml(case: bytes) -> None:
    """`farandole.toml`."""
    load_settings(written("farandole.toml", case))


def line(case: bytes) -> None:
    """A command line, on a log in memory: it ends with an exit code and no traceback."""
    connect.transport_of = lambda settings: MemoryTransport()
    arguments = [str(each).replace("\0", "") for each in json.loads(case)]
    told = CliRunner().invoke(app, arguments, input="n\n")
    if told.exception is not None and not isinstance(told.exception, SystemExit):
        raise told.exception
    assert told.exit_code in {each.code for each in EXIT_CODES}, told.exit_code


TARGETS = {"toml": toml, "line": line}
