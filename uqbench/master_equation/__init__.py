"""The chemical master equation: the distribution of counts under reactions, over time and at stationarity.

Arrays and callables only: `rates(t, counts)`, JAX of one state, and the integer changes of each reaction.
"""

from .codes import SENTENCES as SENTENCES
from .codes import Ending as Ending
from .conservation import Independent as Independent
from .conservation import conservation_laws as conservation_laws
from .conservation import independent_species as independent_species
from .counting import detected as detected
from .stationary import Stationary as Stationary
from .stationary import conditional_error as conditional_error
from .stationary import stationary_distribution as stationary_distribution
from .transient import Distribution as Distribution
from .transient import distribution as distribution
from .transient import method_for as method_for
