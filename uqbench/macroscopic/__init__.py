"""The macroscopic problem against the resolved one: correctors, layers at walls, errors, and a nonlocal closure."""

from .codes import SENTENCES, Ending
from .corrected import CorrectedField, corrected_field
from .errors_in_epsilon import EpsilonErrors, errors_in_epsilon
from .estimates import HomogenisationError, homogenisation_error
from .homogenised import Profile, homogenised_profile
from .nonlocal_closure import (
    NonlocalDiffusivity,
    NonlocalKernel,
    nonlocal_diffusivity,
    nonlocal_kernel,
    nonlocal_profile,
)
from .resolved import ResolvedProblem, resolved_problem
from .wall_law import WallLaw, wall_law

__all__ = [
    "SENTENCES",
    "CorrectedField",
    "Ending",
    "EpsilonErrors",
    "HomogenisationError",
    "NonlocalDiffusivity",
    "NonlocalKernel",
    "Profile",
    "ResolvedProblem",
    "WallLaw",
    "corrected_field",
    "errors_in_epsilon",
    "homogenisation_error",
    "homogenised_profile",
    "nonlocal_diffusivity",
    "nonlocal_kernel",
    "nonlocal_profile",
    "resolved_problem",
    "wall_law",
]
