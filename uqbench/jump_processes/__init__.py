"""Simulation of Markov jump processes, from arrays and callables only: exact, by leaps, and channel by channel.

Counts of species jump by whole numbers when a reaction fires; each reaction has a propensity, its probability of firing
per unit of time. `exact` simulates the process itself, `leaping` an approximation for large counts, `channels` the same
process with a source of randomness of its own for each reaction, `coupling` two processes whose parameters differ.
`hybrid` lets some species flow between the jumps of the others, and `liouville` has the density of such a process.
"""
