"""SALib: its methods on our spaces, our results in its form (spaces are exchanged in `interop`)."""

from .analysis import salib_analysis as salib_analysis
from .analysis import salib_sample as salib_sample
from .analysis import salib_table as salib_table
