"""The static types of what users write, as mypy sees them."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def checked_by_mypy(*paths: str) -> str:
    """What mypy says of the files, with the repository's own settings; nothing if they are clean."""
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", *paths], cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
    )
    return "" if ran.returncode == 0 else ran.stdout + ran.stderr


def test_agents_and_pipelines_keep_the_types_of_their_functions() -> None:
    said = checked_by_mypy("tests/types/sample_types.py", "agents/orders/agents.py")

    assert not said
