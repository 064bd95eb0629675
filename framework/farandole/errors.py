"""Every error of the framework, sorted by who must act.

    FarandoleError
    ├── DefinitionError        the author: a pipeline or agent is wrong; nothing has run
    ├── RecordError            the data: this record is quarantined or dead-lettered, the partition goes on
    │   ├── SchemaRefused      its schema is not admitted
    │   ├── UnknownSchema      nobody published its schema
    │   └── ClaimBroken        the artifact it points to is missing or altered
    ├── ConfigError            the operator: a setting, a missing or drifted topic, a wrong unit
    ├── TransportError         the operator: the log is unreachable or refuses us
    │   ├── NotReady           it does not answer yet, or not with all it needs: ask again
    │   ├── AccessDenied       it refuses who we are, or does not allow us this: a setting or an ACL must change
    │   ├── NotJoined          a group snapshot was asked for before the member joined (R3)
    │   ├── MetadataUnreadable commit metadata of another version, or damaged: the partition stops (R9)
    │   ├── RegistryError      the schema registry is unreachable or refused a question
    │   ├── StoreError         the artifact store or the archive cannot be used
    │   └── FatalTransportError   this client object can not go on; a new process may
    ├── RunError               the caller: the run was refused, failed, is held, or is not there in time
    │   ├── RunRefused
    │   │   └── UnknownPipeline   a ConfigError too: it is the name, or an `apply`, that must change
    │   ├── RunNotFound
    │   ├── RunFailed
    │   ├── RunCancelled
    │   ├── RunTimedOut
    │   ├── RunHeld
    │   └── WaitTimedOut       a TimeoutError too: the caller's patience has ended, and not the run
    ├── RetryableStepError     a handler: try again, not before `retry_after`
    └── TerminalStepError      a handler: trying again cannot help

    InvariantViolation         us: outside the tree, never caught as one of the above

One grammar for messages: place, expectation, fact, consequence.
"""

from datetime import timedelta


class FarandoleError(Exception):
    """Something that a user, an author, an operator or a handler can act on."""


class DefinitionError(FarandoleError):
    """A pipeline or an agent is defined wrongly; nothing has run.

    `place` says where (file:line or pipeline.step), and stands at the head of the message.
    """

    def __init__(self, message: str, *, place: str = "") -> None:
        super().__init__(f"{place}: {message}" if place else message)
        self.place = place
        self.message = message


class RecordError(FarandoleError):
    """One record cannot be used; `reason` is a short stable word for metrics and headers."""

    def __init__(self, message: str, *, reason: str = "undecodable") -> None:
        super().__init__(message)
        self.reason = reason


class SchemaRefused(RecordError):
    """A schema breaks the admission rules (recursion, zero-size items, size)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="schema_refused")


class UnknownSchema(RecordError):
    """A record names a schema that was never published."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="unknown_schema")


class ClaimBroken(RecordError):
    """A claim-checked payload is missing from the artifact store, or its content hash differs."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="claim_broken")


class ConfigError(FarandoleError):
    """A setting, a topic or a deployment is not as it must be; the process refuses to start."""


class TransportError(FarandoleError):
    """The log is unreachable or refused a call."""


class NotReady(TransportError):
    """The log does not answer, or its brokers have not found each other yet; the same call may succeed in a while."""


class AccessDenied(TransportError):
    """The log refuses who we are, or does not allow us what we ask for; trying again cannot help."""


class NotJoined(TransportError):
    """A group snapshot was asked for before the member has joined its group (R3)."""


class MetadataUnreadable(TransportError):
    """Commit metadata is not ours, of an unknown version or damaged; the partition stops, nothing is assumed (R9)."""


class RegistryError(TransportError):
    """The schema registry is unreachable, or gave no usable answer."""


class StoreError(TransportError):
    """The artifact store or the archive cannot be read or written."""


class FatalTransportError(TransportError):
    """The client object is unusable; the process must be started anew."""


class RunError(FarandoleError):
    """What a caller learns of a run that did not succeed."""

    def __init__(self, message: str, *, run_id: str = "") -> None:
        super().__init__(message)
        self.run_id = run_id


class RunRefused(RunError):
    """The run was not started: conflicting id, unknown pipeline, wrong params."""


class UnknownPipeline(RunRefused, ConfigError):
    """The run was not started: no pipeline of that name was applied."""


class RunNotFound(RunError):
    """No run of that id is known."""


class RunFailed(RunError):
    """The run ended `failed`."""


class RunCancelled(RunError):
    """The run ended `cancelled`."""


class RunTimedOut(RunError):
    """The run ended `timed_out`: its own deadline passed."""


class RunHeld(RunError):
    """The run has not ended: it waits for a person, who repairs, replays, discards, releases or cancels."""


class WaitTimedOut(RunError, TimeoutError):
    """The caller waited no longer; the run goes on."""


class RetryableStepError(FarandoleError):
    """Raised by a handler: the attempt failed, another may succeed, not before `retry_after`."""

    def __init__(self, message: str = "", *, retry_after: timedelta | None = None) -> None:
        if not isinstance(retry_after, timedelta | None):
            raise TypeError(f"retry_after: expected a timedelta, but found {retry_after!r}")
        super().__init__(message)
        self.retry_after = retry_after


class TerminalStepError(FarandoleError):
    """Raised by a handler: the attempt failed and another cannot help."""


class InvariantViolation(Exception):  # noqa: N818 - it is not one of the errors a user may catch
    """We are wrong. Holds one run where one is to blame, else stops the process."""
