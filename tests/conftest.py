"""What every test may ask for: a real broker, a name of its own; and the line that says what became of Kafka.

The broker is started once, before the first test, when any selected test needs it: the
first download of its jars then counts against no test's time limit. In a parallel run
(`-n 4`) the workers select, and the process that started them starts the broker for all:
a worker says at the end of its collection that it wants one, and no test is handed out
before that was looked at.
"""

import logging
import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from farandole.testing.broker import (
    QUICK_RESTART,
    Broker,
    BrokerSettings,
    NoBroker,
    Rendezvous,
    TierUnavailable,
    start_broker,
)
from farandole.testing.broker.jars import kafka_jars
from farandole.testing.broker.maven import find_java, maven_tier
from farandole.testing.broker.secured import SecuredBroker, secured_broker

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController


# A plug-in has to be hashable, hence no equality by value.
@dataclass(slots=True, eq=False)
class _KafkaUse:
    """What the last line of the run says."""

    broker: Broker | None = None
    refusal: NoBroker | None = None
    ran: int = 0
    skipped: int = 0

    @property
    def is_decided(self) -> bool:
        """Whether it is known if there is a broker."""
        return self.broker is not None or self.refusal is not None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count the tests that needed the broker."""
        if "kafka" in report.keywords:
            self.ran += report.when == "call" and not report.skipped
            self.skipped += report.skipped

    def line(self) -> str:
        """One line: whether Kafka tests ran, on what, or why not."""
        if self.broker is not None:
            passed = f" (passed over {'; '.join(self.broker.passed)})" if self.broker.passed else ""
            skipped = f", {self.skipped} skipped" if self.skipped else ""
            return f"kafka tests: {self.ran} ran{skipped}, on {self.broker.how}{passed}"
        if self.refusal is not None:
            verb = "FAILED, since CI=true" if _is_ci() else "SKIPPED"
            return f"kafka tests: {verb}: {self.refusal}"
        return "kafka tests: none was selected"


_USE = pytest.StashKey[_KafkaUse]()
_MEETING = pytest.StashKey[Rendezvous]()
_WORKERINPUT = "farandole_rendezvous"


def _is_ci() -> bool:
    return os.environ.get("CI", "").lower() == "true"


def pytest_configure(config: pytest.Config) -> None:
    """Count from the beginning. Time never decides a test: hypothesis may take as long as a busy machine makes it."""
    settings.register_profile("untimed", deadline=None)
    settings.load_profile("untimed")
    use = config.stash[_USE] = _KafkaUse()
    config.pluginmanager.register(use, "farandole-kafka-use")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marker and fixture `kafka` bring each other along; before `-m` selects."""
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        names = item.fixturenames
        if item.get_closest_marker("kafka") is not None and "kafka" not in names:
            item.fixturenames = ["kafka", *names]  # a list of its own: variants of one test share the old one
        elif {"kafka", "kafka_broker", "secured"} & set(names):
            item.add_marker("kafka")


@pytest.hookimpl(tryfirst=True)  # before a worker reports that it has collected
def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the broker when a selected test needs it; a worker asks for it instead."""
    config = session.config
    if config.option.collectonly or not any(item.get_closest_marker("kafka") for item in session.items):
        return
    meeting = _meeting_of_worker(config)
    if meeting is None:
        _start_broker(config)
    else:
        meeting.want()


def _start_broker(config: pytest.Config) -> None:
    use = config.stash[_USE]
    try:
        use.broker = start_broker()
    except NoBroker as reason:
        use.refusal = reason
    else:
        config.add_cleanup(use.broker.stop)


def _meeting_of_worker(config: pytest.Config) -> Rendezvous | None:
    """Where this process meets the one that started it; None unless it is a worker of a parallel run."""
    given = getattr(config, "workerinput", {}).get(_WORKERINPUT)
    return None if given is None else Rendezvous(Path(given))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: "WorkerController") -> None:
    """Tell a worker where to ask for the broker."""
    stash = node.config.stash
    if _MEETING not in stash:
        folder = tempfile.mkdtemp(prefix="farandole-tests-")
        node.config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        stash[_MEETING] = Rendezvous(Path(folder))
    node.workerinput[_WORKERINPUT] = str(stash[_MEETING].folder)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: "WorkerController") -> None:
    """Start the broker once a worker wants it. Tests are handed out after this."""
    use, meeting = node.config.stash[_USE], node.config.stash[_MEETING]
    if not meeting.is_wanted or use.is_decided:
        return
    _start_broker(node.config)
    if use.broker is not None:
        meeting.offer(use.broker)
    elif use.refusal is not None:
        meeting.refuse(use.refusal)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Say last what became of the Kafka tests."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and _USE in config.stash and not config.option.collectonly:
        reporter.write_line(config.stash[_USE].line())


@pytest.fixture(scope="session")
def kafka_broker(request: pytest.FixtureRequest) -> Broker:
    """The broker that all tests share. Who wants to kill or restart one starts one of its own."""
    use, meeting = request.config.stash[_USE], _meeting_of_worker(request.config)
    if meeting is not None and not use.is_decided:
        try:
            use.broker = meeting.taken()
        except NoBroker as reason:
            use.refusal = reason
    if use.broker is not None:
        return use.broker
    if _is_ci():
        pytest.fail("CI=true, and there is no Kafka broker: the last line says why", pytrace=False)
    pytest.skip("there is no Kafka broker: the last line says why")


@pytest.fixture(scope="session")
def kafka(kafka_broker: Broker) -> str:
    """The address of a real broker. It is shared: every name on it is to be made with `unique`."""
    return kafka_broker.bootstrap


@pytest.fixture(scope="session")
def own_settings() -> BrokerSettings:
    """Settings for a broker beside the shared one; only the Maven tier can be killed and looked at from outside."""
    settings = BrokerSettings.from_environment()
    try:
        find_java(settings.java_home)
        kafka_jars(settings)
    except TierUnavailable as reason:
        pytest.skip(f"no broker of our own to kill: {reason}")
    return settings


@pytest.fixture
def own_broker(own_settings: BrokerSettings) -> Iterator[Broker]:
    """A broker that this test alone may kill."""
    with maven_tier(replace(own_settings, properties=QUICK_RESTART)) as broker:
        yield broker


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT as a terminal sends it, for this process and its children: what is started with `&` ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def unique() -> str:
    """A short name that no other test uses: a namespace, or the end of a topic's name."""
    return f"t{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="session")
def secured(kafka_broker: Broker) -> Iterator[SecuredBroker]:
    """A broker of our own with TLS, SASL and ACLs; only where `kafka_broker` is there, so that one line tells why not.

    One for the session: tests name their users and topics with `unique`.
    """
    try:
        with secured_broker() as made:
            yield made
    except NoBroker as reason:
        if _is_ci():
            pytest.fail(f"CI=true, and no broker with security could be started: {reason}", pytrace=False)
        pytest.skip(f"no broker with security: {reason}")


@pytest.fixture(autouse=True)
def _logging_stays_as_it_was() -> Iterator[None]:
    """Commands that run inside a test set up logging for their process, to a stream that closes with the test.

    A later test whose deployment logged at the wrong moment found Python's complaint about that in its own output.
    """
    loggers = logging.getLogger(), logging.getLogger("farandole")
    before = [(logger, logger.handlers[:], logger.level) for logger in loggers]
    yield
    for logger, handlers, level in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)
