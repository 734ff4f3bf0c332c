"""Exchange of parameter spaces with SALib and chaospy, in both directions."""

from .chaospy import from_chaospy as from_chaospy
from .chaospy import to_chaospy as to_chaospy
from .salib import from_salib as from_salib
from .salib import salib_groups as salib_groups
from .salib import to_salib as to_salib
