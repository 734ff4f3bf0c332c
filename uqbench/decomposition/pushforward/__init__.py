"""What becomes of a distribution under a map: exactly where the map is known, and from runs alone."""

from .change_of_variables import pushforward_density as pushforward_density
from .runs import pushforward as pushforward
