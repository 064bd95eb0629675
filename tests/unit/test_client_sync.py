"""The blocking client promises the same methods as the asynchronous one."""

import inspect

from farandole import Client, SyncClient


def methods(of: type) -> dict[str, list[tuple[str, object]]]:
    """Public methods with their parameters' names and kinds."""
    return {
        name: [(each.name, each.kind) for each in inspect.signature(method).parameters.values()]
        for name, method in inspect.getmembers(of, inspect.isfunction)
        if not name.startswith("_")
    }


def test_the_blocking_client_has_the_methods_of_the_other_one() -> None:
    """It had no `rerun`: a method that came to `Client` alone."""
    assert methods(SyncClient) == methods(Client)
