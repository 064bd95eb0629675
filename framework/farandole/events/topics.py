"""Names of the topics of one namespace (DESIGN section 3)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Topics:
    """Topic names under `namespace` (default `farandole`)."""

    namespace: str = "farandole"

    @property
    def commands(self) -> str:
        """What is asked."""
        return f"{self.namespace}.commands"

    @property
    def events(self) -> str:
        """Facts; the order of this log decides every race."""
        return f"{self.namespace}.events"

    @property
    def runs(self) -> str:
        """State of live runs, compacted."""
        return f"{self.namespace}.runs"

    @property
    def settled(self) -> str:
        """Final state of ended runs."""
        return f"{self.namespace}.settled"

    @property
    def definitions(self) -> str:
        """Compiled pipelines by hash, compacted."""
        return f"{self.namespace}.definitions"

    @property
    def schemas(self) -> str:
        """Avro schemas by fingerprint, compacted."""
        return f"{self.namespace}.schemas"

    @property
    def telemetry(self) -> str:
        """Started, progress: hints outside any transaction."""
        return f"{self.namespace}.telemetry"

    @property
    def control(self) -> str:
        """What agents must respect now, compacted."""
        return f"{self.namespace}.control"

    def inbox(self, agent: str) -> str:
        """Triggers of an agent."""
        return f"{self.namespace}.inbox.{agent}"

    def dead(self, agent: str) -> str:
        """Dead letters of an agent."""
        return f"{self.namespace}.dead.{agent}"

    def group(self, unit: str) -> str:
        """Consumer group of a unit of agents, or of the coordinators (`coordinator`)."""
        return f"{self.namespace}.{unit}"
