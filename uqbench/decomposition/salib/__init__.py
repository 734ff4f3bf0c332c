"""SALib and chaospy: their methods on our spaces, our spaces and results in their form."""

from .analysis import salib_analysis as salib_analysis
from .analysis import salib_sample as salib_sample
from .analysis import salib_table as salib_table
from .exchange import to_chaospy as to_chaospy
from .exchange import to_salib as to_salib
