"""What `pip install farandole` brings: the wheel's files, few distributions, and a quick import."""

import json
import re
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement

DISTRIBUTIONS_MAX = 40
"""Issue 5, point 9: what a newcomer's environment takes on, pip itself left out."""

IMPORT_MAX_S = 0.150
"""Issue 5, point 9. CPU time, for the machine may be busy."""

TRIES = 5


def needed(name: str, found: dict[str, list[str]]) -> dict[str, list[str]]:
    """A distribution and all that it requires here, by normalised name."""
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in found:
        return found
    found[key] = []
    for line in distribution(name).requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found[key].append(requirement.name)
            needed(requirement.name, found)
    return found


def test_farandole_brings_at_most_forty_distributions() -> None:
    try:
        brought = needed("farandole", {})
    except PackageNotFoundError as missing:
        raise AssertionError(f"expected every requirement to be installed, but {missing}") from None

    assert "confluent-kafka" in brought, "the walk has found the requirements"
    assert len(brought) <= DISTRIBUTIONS_MAX, sorted(brought)


def test_wheel_holds_the_package_with_its_data_and_nothing_else(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())

    templates = "farandole/cli/init/templates"
    for wanted in (
        "farandole/py.typed",
        f"{templates}/common/gitignore",
        f"{templates}/common/docker-compose.yml",
        f"{templates}/minimal/agents/greetings/greetings.py",
        f"{templates}/orders/order.json",
        f"{templates}/flights-small/agents/flights/data/2013-01-01.csv",
        "farandole/testing/broker/pom.xml",
    ):
        assert wanted in names
    roots = {name.partition("/")[0] for name in names}
    assert {root for root in roots if not root.endswith(".dist-info")} == {"farandole"}
    strange = [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".db"))]
    ours = [name for name in names if re.search(r"(^|/)(tests?|conftest)[./_]", name) and templates not in name]
    assert not strange
    assert not ours


def test_the_wheel_and_not_the_source_tree_is_what_a_newcomer_imports_and_it_is_quick(
    newcomer: Mapping[str, str], tmp_path: Path
) -> None:
    script = (
        "import time; began = time.process_time(); import farandole; took = time.process_time() - began\n"
        "import json; print(json.dumps([took, farandole.__file__]))"
    )

    tries = [
        json.loads(subprocess.check_output(["python", "-c", script], env=dict(newcomer), cwd=tmp_path, text=True))
        for _ in range(TRIES)
    ]

    assert all(Path(where).is_relative_to(newcomer["HOME"]) for _, where in tries)
    assert min(took for took, _ in tries) < IMPORT_MAX_S
