"""The one grammar of uncertainty: a frozen family whose arguments are numbers or names.

A prior, a spread between cells and a measurement noise are the same object. `Normal(0, 1)` is complete by itself;
`LogNormal(median="C", sigma=0.2)` waits for somebody to say what "C" is: a parameter in a hierarchical prior, an output
in a noise model. Every method therefore takes `values`, a mapping from names to arrays, and broadcasts over them.
"""

from .arguments import impossible_arguments as impossible_arguments
from .base import Distribution as Distribution
from .bounded import Beta as Beta
from .bounded import Correlation as Correlation
from .bounded import LogUniform as LogUniform
from .bounded import TruncatedNormal as TruncatedNormal
from .bounded import Uniform as Uniform
from .counting import Counts as Counts
from .counts import Binomial as Binomial
from .counts import NegativeBinomial as NegativeBinomial
from .counts import Poisson as Poisson
from .location_scale import Cauchy as Cauchy
from .location_scale import Laplace as Laplace
from .location_scale import Normal as Normal
from .location_scale import StudentT as StudentT
from .positive import Exponential as Exponential
from .positive import Gamma as Gamma
from .positive import HalfCauchy as HalfCauchy
from .positive import HalfNormal as HalfNormal
from .positive import LogNormal as LogNormal
