"""What is found of an unknown: the verdict and its reason."""

from dataclasses import dataclass

import xarray as xr

from ..space import Space
from .portfolio import RANK

MEANING = (
    "global: one value gives these outputs; local: finitely many do, complex ones counted; none: a continuum does; "
    "undecided: the reason says why. `locally` says whether at most finitely many do."
)


@dataclass(frozen=True)
class Finding:
    """What was found of one unknown.

    Args:
        verdict, reason, combination, method: as in the result.
        locally: whether at most finitely many values are possible.
        this_start: whether it holds only because the states start where they do.
    """

    verdict: str
    reason: str
    combination: str = ""
    method: str = RANK
    locally: bool = True
    this_start: bool = False


# of what no equation of measured outputs contains
UNSEEN = Finding("none", "never seen: no measured output depends on it", locally=False)


def undecided(space: Space, reason: str) -> xr.Dataset:
    """Every parameter undecided, for this reason."""
    names = list(space.free)
    texts = {"verdict": "undecided", "reason": reason, "combination": "", "method": ""}
    columns = {name: ("parameter", [text] * len(names)) for name, text in texts.items()}
    return xr.Dataset({**columns, "locally": ("parameter", [False] * len(names))}, coords={"parameter": names})
