"""The same operations on two logs, and whether both answer alike.

    python -m farandole.testing.twin 0 20        # seeds, on a broker started for it

A seed makes a script (`operations`): plain writes, transactions of two members, stale and
fenced ones, transactions left open and ended late, time-outs, positions, and after each
operation a look at both ends of every partition and at every position. `play` plays it on a
*stage* (`stages`), which is a transport and the few things that the port does not have. The
log in memory, on which everything is simulated, is so held against a real broker.
"""
