"""How equilibria move with a parameter: branches, folds, cusps, and the loop of a sweep there and back."""

from .branch import equilibrium_branch as equilibrium_branch
from .folds import Cusp as Cusp
from .folds import Fold as Fold
from .folds import cusp as cusp
from .folds import fold as fold
from .sweep import hysteresis as hysteresis
from .sweep import quasi_static as quasi_static
