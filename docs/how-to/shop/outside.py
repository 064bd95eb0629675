"""What lies outside of a pipeline: a bank and a warehouse. In production these are clients of real ones."""

from farandole import FencingToken
from farandole.testing.simulated import effect


class Bank:
    """Takes money; a key that it has seen is answered as before, and nothing is taken."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def charge(self, order: str, amount: int, key: str | None = None) -> str:
        """The payment's id."""
        if key is None or key not in self.seen:
            effect("charged", order=order, amount=amount)
        self.seen |= {key} if key is not None else set()
        return f"payment-of-{order}"


class Warehouse:
    """One shelf for each order; a writer who is not the newest any more is refused, if it says who it is."""

    def __init__(self) -> None:
        self.newest: dict[str, FencingToken] = {}

    def reserve(self, order: str, pieces: int, token: FencingToken | None = None) -> None:
        """Put what was ordered on its shelf."""
        if token is not None:
            if token < self.newest.get(order, token):
                raise PermissionError(f"{order}: {token} is not the newest writer")
            self.newest[order] = token
        effect("reserved", order=order, pieces=pieces)


bank = Bank()
warehouse = Warehouse()
