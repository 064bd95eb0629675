"""The published schemas are those of the code, and no published one is ever changed."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from farandole.errors import SchemaRefused
from farandole.events.avro import Schema
from farandole.events.catalogue import ALL, schema_of, type_name
from farandole.registry.compatibility import Compatibility, problems


@pytest.fixture(scope="session")
def make(repository: Path) -> ModuleType:
    """The script that publishes."""
    spec = importlib.util.spec_from_file_location("schemas_make", repository / "schemas" / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("record", ALL, ids=type_name)
def test_latest_published_schema_is_that_of_the_code(make: ModuleType, record: type) -> None:
    published = make.versions(make.HERE / make.folder_of(record))

    assert published, "run `python schemas/make.py`"
    assert published[-1].read_text() == schema_of(record).text, "run `python schemas/make.py`"


@pytest.mark.parametrize("record", ALL, ids=type_name)
def test_published_versions_are_numbered_without_gaps_and_read_each_other(make: ModuleType, record: type) -> None:
    published = make.versions(make.HERE / make.folder_of(record))

    assert [path.stem for path in published] == [str(n + 1) for n in range(len(published))]
    for path in published[:-1]:
        assert not problems(schema_of(record), Schema.parse(path.read_text()), Compatibility.FULL)


def test_published_schemas_are_exactly_those_summed_up_and_unchanged(make: ModuleType) -> None:
    lines = (make.HERE / make.SUMS).read_text().splitlines()

    listed = [line.split("  ") for line in lines]

    assert [make.digest(make.HERE / name) for _, name in listed] == [digest for digest, _ in listed]
    assert sorted(name for _, name in listed) == sorted(
        str(path.relative_to(make.HERE)) for path in make.HERE.rglob("*.avsc")
    )


def test_publishing_again_writes_nothing(make: ModuleType, tmp_path: Path) -> None:
    first = make.publish(tmp_path)

    assert len(first) == len(ALL)
    assert make.publish(tmp_path) == []


def test_changed_schema_becomes_the_next_version_if_both_read_each_other(make: ModuleType, tmp_path: Path) -> None:
    make.publish(tmp_path)
    path = tmp_path / "cancel-run" / "1.avsc"
    path.write_text(path.read_text().replace('"default": ""', '"default": "none"'))

    assert [new.relative_to(tmp_path) for new in make.publish(tmp_path)] == [Path("cancel-run/2.avsc")]

    path.write_text(path.read_text().replace('"name": "run_id"', '"name": "run"'))
    (tmp_path / "cancel-run" / "2.avsc").unlink()
    with pytest.raises(SchemaRefused, match="reader_field_missing_default_value"):
        make.publish(tmp_path)
