"""Defaults of settings that several verbs and the command line share; the command line has them without the verbs."""

# Posterior draws kept of each chain, draws of each chain for adaptation, and chains.
DRAWS, TUNE, CHAINS = 1000, 600, 4
# Ascents of the best fit as a step of `identify`.
STARTS = 16
# Posterior draws at most that are run for a prediction.
PREDICTIONS = 2000
# Simulated tables of simulation-based calibration, enough to see a posterior sd that is too small by a fifth in one of
# ten quantities; draws kept of each table's chains, draws for adaptation, chains, and draws among which a truth is
# ranked.
REPETITIONS = 200
TABLE_DRAWS, TABLE_TUNE, TABLE_CHAINS, RANKS = 200, 300, 2, 63
