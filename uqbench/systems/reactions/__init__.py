"""Reaction networks: one description from stoichiometry and propensities, and its views as kinds of dynamics."""

from .hybrid_density import hybrid_density as hybrid_density
from .partition import Partition as Partition
from .partition import hybrid_error as hybrid_error
from .partition import propose_partition as propose_partition
from .views import Reactions as Reactions
