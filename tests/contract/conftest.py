"""The command line typed in this process, on the deployment of the module that asks (its fixture `cluster`)."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from farandole.cli.main import app
from farandole.testing.inprocess import InProcess


@pytest.fixture
def farandole(cluster: InProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """Types a command: `farandole("run", "list")`; with `code` it must exit with that."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("farandole.cli.connect.transport_of", lambda settings: cluster.transport)
    monkeypatch.setattr("farandole.cli.connect.artifacts_of", lambda settings: cluster.artifacts)

    def type_(*arguments: str, text: str | None = None, code: int | None = None) -> Result:
        result = CliRunner().invoke(app, arguments, input=text)
        assert code is None or result.exit_code == code, f"{result.exit_code}: {result.output}"
        assert "Traceback" not in result.output
        return result

    return type_
