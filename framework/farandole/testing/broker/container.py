"""The tier that runs Kafka's official image, through testcontainers.

Our own container class and not the one of testcontainers: that one expects another image
and finds its port out by a script; ours binds a port chosen beforehand, so that the
address survives a restart. Imported only when this tier is tried, since it needs the
`dev` extra.
"""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from docker.errors import DockerException
from requests.exceptions import RequestException
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.exceptions import ContainerStartException

from farandole.testing.broker.handle import Broker, TierUnavailable
from farandole.testing.broker.ready import free_ports, wait_until_ready
from farandole.testing.broker.settings import TEST_PROPERTIES, BrokerSettings

_INSIDE = 9092
_CONTROLLER = 9093
# Exits well when the image is here. Ends a refusal by its reason, on the last line of its errors.
_OBTAIN = """
import sys
from docker.errors import ImageNotFound
from testcontainers.core.docker_client import DockerClient
images = DockerClient().client.images
try:
    images.get(sys.argv[1])
except ImageNotFound:
    images.pull(sys.argv[1])
"""


class KafkaContainer(DockerContainer):
    """One KRaft node of `apache/kafka`, reachable at `address` from outside."""

    def __init__(self, settings: BrokerSettings, host_port: int) -> None:
        super().__init__(settings.image)
        # "localhost" may mean an IPv6 address first, where nothing is published.
        host = self.get_docker_client().host().replace("localhost", "127.0.0.1")
        self.address = f"{host}:{host_port}"
        self.with_bind_ports(_INSIDE, host_port)
        self.with_env("KAFKA_HEAP_OPTS", f"-Xms{settings.heap_mb}m -Xmx{settings.heap_mb}m")
        self.with_envs(**image_environment(self.address, {**TEST_PROPERTIES, **settings.properties}))


def image_environment(address: str, extra: Mapping[str, str]) -> dict[str, str]:
    """The variables that configure the image's only node.

    Once any is set, the image drops its own configuration: all that a node needs is here.
    """
    properties = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@localhost:{_CONTROLLER}",
        "listeners": f"PLAINTEXT://:{_INSIDE},CONTROLLER://:{_CONTROLLER}",
        "advertised.listeners": f"PLAINTEXT://{address}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        **extra,
    }
    # The image's own rule for names: `_` for a dot, two for an underscore, three for a dash.
    return {
        "KAFKA_" + name.replace("_", "__").replace("-", "___").replace(".", "_").upper(): value
        for name, value in properties.items()
    }


def container_tier(settings: BrokerSettings) -> Broker:
    """Start a broker in a container.

    Raises:
        TierUnavailable: no engine answers, the image cannot be had in time, or the broker did not start.
    """
    # The reaper is a second image, and wants the engine's socket: we remove our container ourselves.
    testcontainers_config.ryuk_disabled = True
    try:
        _have_image(settings)
        container = KafkaContainer(settings, free_ports(1)[0])
        control = _ContainerControl(container, settings.start_timeout)
        try:
            container.start()
            control.wait()
        except BaseException:
            control.stop()
            raise
    except (DockerException, RequestException, ContainerStartException, OSError) as error:
        said = str(error).splitlines() or [type(error).__name__]
        raise TierUnavailable(said[0]) from error
    return Broker(bootstrap=container.address, how=f"container of {settings.image}", control=control)


@dataclass(slots=True)
class _ContainerControl:
    container: KafkaContainer
    timeout: timedelta

    def stop(self) -> None:
        self.container.stop()
        self.container.get_docker_client().client.close()

    def kill(self) -> None:
        self.container.get_wrapped_container().kill()

    def restart(self) -> None:
        self.container.get_wrapped_container().restart()
        self.wait()

    def wait(self) -> None:
        if not wait_until_ready(self.container.address, self.timeout, self._is_alive):
            raise TierUnavailable(f"the container did not answer at {self.container.address}: {self._log_tail()}")

    def _is_alive(self) -> bool:
        wrapped = self.container.get_wrapped_container()
        wrapped.reload()
        return str(wrapped.status) not in {"exited", "dead", "removing"}

    def _log_tail(self) -> str:
        wrapped = self.container.get_wrapped_container()
        return " / ".join(wrapped.logs(tail=3).decode(errors="replace").split("\n")).strip(" /") or "no word"


def _have_image(settings: BrokerSettings) -> None:
    # In a process of its own: a pull cannot be interrupted, a registry that is not there is not always
    # refused, and the client leaves its socket open when no engine answers.
    try:
        subprocess.run(
            [sys.executable, "-c", _OBTAIN, settings.image],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=settings.image_timeout.total_seconds(),
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise TierUnavailable(f"image {settings.image} was not there in {settings.image_timeout.seconds} s") from error
    except subprocess.CalledProcessError as error:
        lines = str(error.stderr).strip().splitlines()
        raise TierUnavailable(f"no image {settings.image}: {lines[-1] if lines else 'no reason given'}") from error
