"""Why a solve ended, as the engine says it; the sentences are in `uqbench.initial_value.odes.RESULTS`."""

SUCCESS = 0
STEP_LIMIT = 1
BLOW_UP = 2
BAD_START = 3
# 4 and 5 belong to steady states and to reduced systems
NOT_DIFFERENTIABLE = 6
ENDLESS_EVENTS = 7
NO_STEP = 8
BAD_DELAY = 9
UNRESOLVED = 10
