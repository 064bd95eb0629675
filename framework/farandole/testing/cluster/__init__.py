"""Coordinators and agents as processes of the operating system, for tests that kill them.

with Cluster(kafka, namespace, tmp_path) as cluster:
    cluster.run("apply", "unit", "--yes")
    cluster.coordinator("c0")
    cluster.agent("a0", "unit").kill9()
    wait_until(lambda: all_ended(), within=timedelta(seconds=60))
"""

from farandole.testing.cluster.cluster import Cluster, Ended
from farandole.testing.cluster.process import ManagedProcess
from farandole.testing.cluster.waiting import NotYet, wait_until

__all__ = ["Cluster", "Ended", "ManagedProcess", "NotYet", "wait_until"]
