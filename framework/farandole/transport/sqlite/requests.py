"""Answering a member's requests: what to do on the log, and what its refusals mean.

Everything is answered at once. There is doubt only where SQLite failed in the commit itself.
"""

from farandole.errors import TransportError
from farandole.transport.memory.refusals import (
    MetadataTooLong,
    ProducerFenced,
    RecordTooLarge,
    Refusal,
    StaleGeneration,
    UnknownTopic,
)
from farandole.transport.memory.requests import check_commit
from farandole.transport.port import (
    Commit,
    FenceWriter,
    ListMembers,
    MemberSettings,
    ReadEnds,
    ReadPositions,
    RenewProducer,
    Reply,
    Request,
    Verdict,
)
from farandole.transport.sqlite import groups, positions, transactions
from farandole.transport.sqlite.bell import Bells
from farandole.transport.sqlite.errors import CommitInDoubt
from farandole.transport.sqlite.file import File
from farandole.transport.sqlite.transactions import Writer
from farandole.transport.sqlite.view import View


class Requests:
    """The asking side of one member."""

    def __init__(self, file: File, view: View, bells: Bells, settings: MemberSettings) -> None:
        self._file = file
        self._bells = bells
        self._view = view
        self._settings = settings
        self._writer: Writer | None = None
        self.was_in_trouble = False
        """Whether the last answer is an error because the log did not do what it should."""

    def answer(self, ticket: int, request: Request) -> Reply:
        """What the log says to a request."""
        self.was_in_trouble = False
        try:
            if isinstance(request, Commit):
                return self._commit(ticket, request)
            return self._ask(ticket, request)
        except Refusal as refusal:
            return Reply(ticket, request, error=TransportError(str(refusal)))
        except TransportError as error:
            self.was_in_trouble = True
            return Reply(ticket, request, error=error)

    def _ask(self, ticket: int, request: Request) -> Reply:
        group = self._settings.group
        if isinstance(request, RenewProducer):
            self._writer = self._initialise(self._settings.client_id)
            return Reply(ticket, request)
        if isinstance(request, FenceWriter):
            self._initialise(request.transactional_id)
            return Reply(ticket, request)
        with self._file.reading as db:
            self._file.observe()
            self._view.look()
            match request:
                case ReadPositions(partitions=partitions, stable=stable, group=other):
                    found = positions.read(db, self._view.catalog, other or group, partitions, stable=stable)
                    return Reply(ticket, request, positions=found)
                case ReadEnds(partitions=partitions, isolation=isolation):
                    ends = {at: self._view.span(at).end_of(isolation) for at in partitions}
                    return Reply(ticket, request, ends=ends)
                case ListMembers():
                    return Reply(ticket, request, members=groups.client_ids(db, group, self._bells))
        raise AssertionError(request)

    def _initialise(self, name: str) -> Writer:
        with self._file.writing as db:
            return transactions.initialise(db, name)

    def _commit(self, ticket: int, request: Commit) -> Reply:
        snapshot = check_commit(request, self._settings.client_id)
        verdict, error = Verdict.COMMITTED, None
        try:
            if self._writer is None:
                self._writer = self._initialise(self._settings.client_id)
            catalog = self._view.catalog
            self._learn_topics(request)
            transactions.commit(self._file, catalog, self._writer, snapshot, request.records, request.positions)
        except ProducerFenced as refusal:
            verdict, error = Verdict.FENCED, TransportError(str(refusal))
        except StaleGeneration as refusal:
            verdict, error = Verdict.STALE, TransportError(str(refusal))
        except (UnknownTopic, RecordTooLarge, MetadataTooLong) as refusal:
            verdict, error = Verdict.REFUSED, TransportError(str(refusal))
        except CommitInDoubt as doubt:
            self.was_in_trouble = True
            verdict, error = Verdict.DOUBT, doubt
        except TransportError as failed:
            self.was_in_trouble = True
            verdict, error = Verdict.ABORTED, failed
        return Reply(ticket, request, verdict, error=error)

    def _learn_topics(self, request: Commit) -> None:
        """Read the topics anew before one that we do not know is refused."""
        known = self._view.catalog.topics
        if all(record.topic in known for record in request.records) and all(
            at.topic in known for at in request.positions
        ):
            return
        with self._file.reading as db:
            self._view.catalog.refresh(db)
