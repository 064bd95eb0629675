"""Faults on a real broker: processes under load are killed, frozen, cut off and poisoned, and then counted.

    python -m farandole.testing.chaos F1 F5 --json FILE --write docs/reliability-faults.md

`trial("F1")` is one of them from beginning to end; `faults.py` is the list.
"""

from farandole.testing.chaos.faults import FAULTS
from farandole.testing.chaos.report import Report, as_json, table
from farandole.testing.chaos.trial import trial

__all__ = ["FAULTS", "Report", "as_json", "table", "trial"]
