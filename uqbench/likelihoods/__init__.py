"""Likelihoods: the density of a study's table. A new kind is one file with one class."""

from .choice import likelihood_of as likelihood_of
from .choice import log_likelihood as log_likelihood
from .choice import simulate_data as simulate_data
from .expansions import Expansion as Expansion
from .expansions import of_shared as of_shared
from .expansions import of_units as of_units
from .independent import Independent as Independent
from .latents import natural_slopes as natural_slopes
from .latents import with_units as with_units
from .layout import Observations as Observations
from .linear_effects import LinearEffects as LinearEffects
from .linear_noise import LinearNoise as LinearNoise
from .marginal import Marginal as Marginal
from .one_at_a_time import findings_around as findings_around
from .protocol import CAPABILITIES as CAPABILITIES
from .protocol import Likelihood as Likelihood
from .protocol import Moments as Moments
from .protocol import Scores as Scores
from .protocol import rows_by_output as rows_by_output
from .roots import root_of as root_of
from .snapshots import Snapshots as Snapshots
from .solve_error import noise_values_of_runs as noise_values_of_runs
