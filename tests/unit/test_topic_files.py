"""A user's `topics/`: what is taken, and what is refused before it does nothing, or harm."""

from pathlib import Path

import pytest

from farandole.client.topic_files import read_overrides
from farandole.errors import ConfigError, DefinitionError

PUBLISHED = Path(__file__).parents[2] / "topics"


def write(folder: Path, text: str, name: str = "one.yaml") -> Path:
    (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("topic: <ns>.setled", "did you mean <ns>.settled"),
        ("topic: shop.setled", "did you mean <ns>.settled"),
        ("topic: <ns>.inbox", "did you mean <ns>.inbox.<agent>"),
        ("topic: <ns>.done", "a topic of your own has another prefix"),
        ("topic: events", "write `topic: <ns>.events`"),
        ("topic: inbox.<agent>", "write `topic: <ns>.inbox.<agent>`"),
        ("topic: <ns>.events\nconfig: {cleanup.policy: compact}", "expected delete for shop.events, but found compact"),
        ("topic: <ns>.inbox.charge\nconfig: {cleanup.policy: compact}", "it cannot be changed"),
        (
            'topic: <ns>.events\nconfig: {retention.ms: "soon"}',
            "retention.ms: expected a whole number, but found 'soon'",
        ),
        ("topic: <ns>.events\nconfig: {retention.ms: 1.5}", "expected a whole number"),
        ("topic: mine\nconfig: {segment.bytes: 1 GB}", "expected a whole number"),
        ("topic: <ns>.runs\nconfig: {min.cleanable.dirty.ratio: often}", "expected a number"),
    ],
)
def test_file_that_would_do_nothing_or_harm_is_refused_with_its_name_and_a_way_out(
    tmp_path: Path, text: str, told: str
) -> None:
    """`plan` had said "nothing to do", made a stranger's topic, or what no coordinator would start on."""
    with pytest.raises(ConfigError) as refused:
        read_overrides(write(tmp_path, text), "shop")

    assert told in str(refused.value)
    assert str(tmp_path / "one.yaml") in str(refused.value)


@pytest.mark.parametrize("name", ['""', "two words", "..", "mine.<agent>", "x" * 250, "grün"])
def test_file_with_a_name_that_no_topic_has_is_refused_with_the_rule(tmp_path: Path, name: str) -> None:
    """`apply` made a topic with an empty name on the embedded log, which nobody could read from then on."""
    with pytest.raises(ConfigError, match=r"one\.yaml: topic: expected a name of 1 to 249 of .*, but found '"):
        read_overrides(write(tmp_path, f"topic: {name}"), "shop")


@pytest.mark.parametrize(
    "text",
    [
        "topic: <ns>.events\nconfig: {cleanup.policy: delete, retention.ms: -1}",
        "topic: <ns>.inbox.charge\npartitions: 24",
        "topic: <ns>.dead.<agent>\nconfig: {retention.ms: '31536000000'}",
        "topic: payments.settled\nconfig: {cleanup.policy: compact, compression.type: zstd}",
        "topic: <ns>.done\npartitions: 3",
    ],
)
def test_file_that_says_what_may_be_said_is_taken(tmp_path: Path, text: str) -> None:
    assert len(read_overrides(write(tmp_path, text), "shop", own=("shop.done",))) == 1


def test_files_may_end_in_yml_as_pipelines_may(tmp_path: Path) -> None:
    """They were passed over without a word."""
    write(tmp_path, "topic: <ns>.settled\nconfig: {retention.ms: 1}", "settled.yml")
    write(tmp_path, "no topic", "README.md")

    assert [each.name for each in read_overrides(tmp_path, "shop")] == ["shop.settled"]


def test_file_that_is_too_large_is_refused_with_its_name(tmp_path: Path) -> None:
    path = write(tmp_path, "topic: <ns>.settled\n" + "#" * 300_000)

    with pytest.raises(DefinitionError, match="expected at most 262,144 bytes"):
        read_overrides(path, "shop")


def test_published_files_are_taken_as_they_are() -> None:
    assert len(read_overrides(PUBLISHED, "shop")) == len(list(PUBLISHED.glob("*.yaml")))
