"""The history checker: whether the content of the topics can have come about by the rules.

`check_history(collect(transport, "farandole"))` on a live cluster; in tests over histories made by hand.
"""

from farandole.testing.history.check import check_history
from farandole.testing.history.collect import collect, lag
from farandole.testing.history.report import Committed, History, Span, Violation

__all__ = ["Committed", "History", "Span", "Violation", "check_history", "collect", "lag"]
