"""The real kernel, coordinators and agents on a simulated broker: one thread, virtual time, one seed.

Every broker call is cut into steps between which anything may happen: other processes go on,
one dies, a partition moves, a marker is late, a call is lost, or done and reported as lost.
Faults on, then off; then every run must end, and the history must be valid.
"""
