"""How applications start and follow runs, and how operators look at them."""

from farandole.client.client import Client
from farandole.client.following import Ending
from farandole.client.lookup import RunStatus
from farandole.client.run import Run
from farandole.client.sync import SyncClient, SyncRun

__all__ = ["Client", "Ending", "Run", "RunStatus", "SyncClient", "SyncRun"]
