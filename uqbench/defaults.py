"""Defaults of settings that several verbs and the command line share; the command line has them without the verbs."""

# Posterior draws kept of each chain, draws of each chain for adaptation, and chains.
DRAWS, TUNE, CHAINS = 1000, 600, 4
# Ascents of the best fit as a step of `identify`.
STARTS = 16
# Posterior draws at most that are run for a prediction.
PREDICTIONS = 2000
# Simulated tables of simulation-based calibration: enough to see a posterior sd that is wrong by a fifth.
REPETITIONS = 160
