"""`run events`: what stands on the log of a run, up to now."""

from farandole.cli.event_lines import payload_of, pinned, print_event
from farandole.client import Client
from farandole.client.query import readable_event, run_records
from farandole.definition.model import Definition
from farandole.errors import RunNotFound


async def print_events(client: Client, run_id: str, *, payloads: bool, as_json: bool) -> None:
    """Print them in their order.

    Raises:
        RunNotFound: there are none.
    """
    definition: Definition | None = None
    records = await run_records(client.session, run_id)
    if not records:
        raise RunNotFound(
            f"run {run_id}: expected events of it on {client.session.topics.events}, but there are none", run_id=run_id
        )
    for record in records:
        event, given = readable_event(record), None
        if payloads and event is not None:
            definition = await pinned(client, event, definition)
            given = await payload_of(client, event, definition)
        print_event(record, as_json=as_json, payloads=given)
