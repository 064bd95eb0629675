"""Kafka's jars in the user's cache folder, fetched by Maven when they are not there yet.

The folder is named after the version and a digest of the pom, and is complete or absent:
Maven fills a temporary folder beside it, which is then renamed. Two processes may do so
at once; the second finds the name taken and throws its own copy away.
"""

import hashlib
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path

from farandole.testing.broker.handle import TierUnavailable
from farandole.testing.broker.process import run_bounded, what_was_said
from farandole.testing.broker.settings import KAFKA_VERSION, BrokerSettings


def kafka_jars(settings: BrokerSettings) -> Path:
    """The folder that holds the broker's jars.

    Raises:
        TierUnavailable: Maven is missing, failed or was too slow, or the cache is not writable.
    """
    pom = files("farandole.testing.broker").joinpath("pom.xml").read_text().replace("${kafka.version}", KAFKA_VERSION)
    digest = hashlib.sha256(pom.encode()).hexdigest()[:8]
    target = settings.cache / f"kafka-{KAFKA_VERSION}-{digest}"
    if target.is_dir():
        return target
    try:
        settings.cache.mkdir(parents=True, exist_ok=True)
        # In the cache and not in the system's temporary folder: a rename works within one file system only.
        workshop = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=settings.cache))
    except OSError as error:
        raise TierUnavailable(f"the cache folder {settings.cache} cannot be written: {error.strerror}") from error
    try:
        _fetch(pom, workshop, settings)
        _publish(workshop / "libs", target)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    return target


def _fetch(pom: str, workshop: Path, settings: BrokerSettings) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise TierUnavailable("mvn is not on the PATH; Debian: apt-get install maven, macOS: brew install maven")
    (workshop / "pom.xml").write_text(pom)
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={workshop / 'libs'}"]
    output = workshop / "output.txt"
    code = run_bounded([maven, "-q", "-B", "-f", str(workshop / "pom.xml"), *goal], output, settings.jars_timeout)
    if code is None:
        raise TierUnavailable(f"Maven had not fetched Kafka's jars after {settings.jars_timeout.seconds} s")
    if code != 0 or not (workshop / "libs" / f"kafka_2.13-{KAFKA_VERSION}.jar").is_file():
        raise TierUnavailable(f"Maven could not fetch Kafka's jars: exit code {code}, it said: {what_was_said(output)}")


def _publish(fetched: Path, target: Path) -> None:
    try:
        fetched.rename(target)
    except OSError as error:
        if not target.is_dir():
            raise TierUnavailable(f"the jars cannot be put at {target}: {error.strerror}") from error
