"""Random media: stationary Gaussian fields, what is cut or raised from them, inclusions, and their statistics."""

from .covariance import Correlation as Correlation
from .embedding import Embedding as Embedding
from .embedding import embed as embed
from .ensembles import Estimate as Estimate
from .ensembles import Plan as Plan
from .ensembles import WindowErrors as WindowErrors
from .ensembles import apparent_values as apparent_values
from .ensembles import cheapest_ensemble as cheapest_ensemble
from .ensembles import estimate as estimate
from .ensembles import estimate_with_controls as estimate_with_controls
from .ensembles import harmonic_mean as harmonic_mean
from .ensembles import window_errors as window_errors
from .inclusions import ball_radius as ball_radius
from .inclusions import distance_to_balls as distance_to_balls
from .inclusions import distance_to_fibres as distance_to_fibres
from .inclusions import grown as grown
from .inclusions import random_directions as random_directions
from .inclusions import random_places as random_places
from .media import level_cut as level_cut
from .media import lognormal as lognormal
from .media import smooth_cut as smooth_cut
from .media import two_phase as two_phase
from .statistics import two_point as two_point
from .statistics import variogram as variogram
from .statistics import window_means as window_means
from .tessellation import distance_to_walls as distance_to_walls
