"""The reference of the metrics is written from the code, and dashboards name nothing that is not there."""

from pathlib import Path

from farandole.telemetry.reference import reference


def test_reference_of_metrics_equals_the_declarations(repository: Path) -> None:
    written = (repository / "docs/reference/metrics.md").read_text()

    assert written == reference(), "python -m farandole.telemetry.reference docs/reference/metrics.md"
