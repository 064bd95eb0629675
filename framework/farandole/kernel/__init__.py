"""Run state as a value: what follows from a fact, how a fact is folded, what records that implies.

No I/O, clock, randomness or logging anywhere in this package. `decide` never changes state;
`evolve` never decides; `outbox` says what is to be written.
"""
