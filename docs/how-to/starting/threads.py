"""A program of threads (Django, Flask, a job queue) that starts runs: one `SyncClient`, shared by all of them."""

import sys
from concurrent.futures import ThreadPoolExecutor

from farandole import RunError, SyncClient


def greet(client: SyncClient, name: str) -> str:
    run = client.start("greetings", params={"name": name}, run_id=f"greet-{name}")
    try:
        return str(run.result(timeout="30s"))  # a pipeline by name gives plain values
    except RunError as bad:  # refused, failed, cancelled, timed out; or it is held, or not done in 30 s, and goes on
        return f"{run.id}: {bad}"


if __name__ == "__main__":
    with SyncClient(namespace="shop") as client, ThreadPoolExecutor(4) as threads:
        for text in threads.map(lambda name: greet(client, name), sys.argv[1:]):
            print(text)
