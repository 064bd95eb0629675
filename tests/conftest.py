"""What every test may ask for: a real broker, a name of its own; and the line that says what became of Kafka.

The broker is started once, before the first test, when any selected test needs it: the
first download of its jars then counts against no test's time limit.
"""

import logging
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import settings

from farandole.testing.broker import Broker, NoBroker, start_broker


# A plug-in has to be hashable, hence no equality by value.
@dataclass(slots=True, eq=False)
class _KafkaUse:
    """What the last line of the run says."""

    broker: Broker | None = None
    refusal: str | None = None
    ran: int = 0
    skipped: int = 0

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
        elif "kafka" in names or "kafka_broker" in names:
            item.add_marker("kafka")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the broker when a selected test needs it."""
    config = session.config
    if config.option.collectonly or not any(item.get_closest_marker("kafka") for item in session.items):
        return
    use = config.stash[_USE]
    try:
        use.broker = start_broker()
    except NoBroker as reason:
        use.refusal = str(reason)
    else:
        config.add_cleanup(use.broker.stop)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Say last what became of the Kafka tests."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and _USE in config.stash and not config.option.collectonly:
        reporter.write_line(config.stash[_USE].line())


@pytest.fixture(scope="session")
def kafka_broker(request: pytest.FixtureRequest) -> Broker:
    """The broker that all tests share. Who wants to kill or restart one starts one of its own."""
    use = request.config.stash[_USE]
    if use.broker is not None:
        return use.broker
    if _is_ci():
        pytest.fail("CI=true, and there is no Kafka broker: the last line says why", pytrace=False)
    pytest.skip("there is no Kafka broker: the last line says why")


@pytest.fixture(scope="session")
def kafka(kafka_broker: Broker) -> str:
    """The address of a real broker. It is shared: every name on it is to be made with `unique`."""
    return kafka_broker.bootstrap


@pytest.fixture
def unique() -> str:
    """A short name that no other test uses: a namespace, or the end of a topic's name."""
    return f"t{uuid.uuid4().hex[:8]}"


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
