"""Reference pages made from code are what the code says now; and the site builds without a warning."""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
GENERATE = REPOSITORY / "docs" / "generate"


@pytest.fixture(scope="module")
def pages() -> Iterator[Mapping[str, Callable[[], str]]]:
    """The generators by the page they make."""
    sys.path.insert(0, str(GENERATE))
    try:
        spec = importlib.util.spec_from_file_location("docs_generate", GENERATE / "__main__.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module.PAGES
    finally:
        sys.path.remove(str(GENERATE))


def test_generated_pages_equal_the_code(pages: Mapping[str, Callable[[], str]]) -> None:
    stale = [name for name, page in pages.items() if (REPOSITORY / "docs" / name).read_text() != page()]

    assert not stale, "run: python docs/generate"


def test_site_builds_without_a_warning(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "docs", tmp_path / "docs")
    shutil.copy(REPOSITORY / "zensical.toml", tmp_path)

    built = subprocess.run(
        [Path(sys.executable).with_name("zensical"), "build", "--clean", "--strict"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )

    assert built.returncode == 0, built.stdout + built.stderr
    assert (tmp_path / "site" / "index.html").is_file()
