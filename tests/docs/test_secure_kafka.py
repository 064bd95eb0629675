"""The settings that the page on a secured Kafka shows are taken by both clients."""

import re
from pathlib import Path

import pytest
import trustme

from farandole.cli.connect import kafka_of
from farandole.cli.settings import load_settings
from farandole.transport.kafka.security import for_aiokafka

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "secure-kafka.md"
SNIPPETS = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
WAYS = ["SSL", "SSL", "SASL_SSL", "SASL_SSL"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the certificates that the page names."""
    folder = tmp_path / "certificates"
    folder.mkdir()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    issued = authority.issue_cert("orders.test")
    issued.cert_chain_pems[0].write_to_path(str(folder / "orders.pem"))
    issued.private_key_pem.write_to_path(str(folder / "orders.key"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FARANDOLE_KAFKA__SASL_PASSWORD", "open-sesame")
    monkeypatch.setenv("FARANDOLE_KAFKA__SASL_OAUTHBEARER_CLIENT_SECRET", "open-sesame")
    return tmp_path


@pytest.mark.parametrize(("snippet", "protocol"), list(zip(SNIPPETS, WAYS, strict=True)), ids=range(len(WAYS)))
def test_both_clients_take_what_the_page_shows(snippet: str, protocol: str, project: Path) -> None:
    (project / "farandole.toml").write_text(snippet)

    settings = kafka_of(load_settings(bootstrap="kafka.test:9093"))

    assert for_aiokafka(settings.extra)["security_protocol"] == protocol
    assert Path(settings.extra["ssl.ca.location"]) == project / "certificates" / "ca.pem"
