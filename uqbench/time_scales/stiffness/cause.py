"""What makes a mode fast: the terms and the parameters behind one eigenvalue of the Jacobian, and what they stand for.

With right and left eigenvectors v and w, lambda = w'Jv / w'v is a sum over the entries of J, w_i J_ij v_j / w'v, and
over the terms of the equations that the entries are made of. Its derivative by a parameter is w'(dJ/dp)v / w'v. Both
are exact for a simple eigenvalue; where it is multiple and its eigenvectors fall together neither exists.
"""

from collections.abc import Mapping
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy.linalg import eig

from ...annotations import Values
from ...initial_value.given import stacked
from ...space import Space
from ...system import Inputs, Ode
from .additive_terms import Terms

# A parameter is a cause with at least this share of the largest sensitivity; nearer than TIED they are alike.
CAUSE, TIED = 0.5, 1e-6
# Terms are named until they account for this much of the eigenvalue.
NAMED = 0.9
# Condition number of an eigenvalue beyond which its parts are not resolved if another one is this near, relative to it.
DEFECTIVE, COINCIDENT = 1e7, 1e-7
# Units of what resists deformation: force per length (also surface tension), pressure, bending
MATERIAL_UNITS = ("N/m", "Pa", "N*m**2")


class Cause(NamedTuple):
    """The parts of one eigenvalue.

    Args:
        eigenvalue: in 1 / time.
        entries: `(equation, state)` shares of the entries of the Jacobian.
        equations, terms, shares: the additive terms: equation, text and share of each.
        sensitivity: parameter -> d log abs(eigenvalue) / d log p, at fixed states.
    """

    eigenvalue: complex
    entries: np.ndarray
    equations: tuple[str, ...]
    terms: tuple[str, ...]
    shares: np.ndarray
    sensitivity: dict[str, float]


def cause_of(
    system: Ode,
    names: tuple[str, ...],
    theta: Values,
    inputs: Inputs,
    t,
    y,
    scale: np.ndarray,
    matrix: np.ndarray,
    mode: int,
) -> Cause | None:
    """Takes an eigenvalue apart; None where it is zero or its eigenvectors do not determine it.

    Args:
        t, y: time and states `(states,)`.
        scale: sizes of the states; matrix: the Jacobian in units of these.
        mode: which eigenvalue, counted from the largest in absolute value.
    """
    values, left, right = eig(matrix, left=True)
    picked = np.argsort(-np.abs(values), kind="stable")[mode]
    value, w, v = values[picked], left[:, picked].conj(), right[:, picked]
    if abs(value) == 0 or not _resolved(values, picked, w, v):
        return None
    w, v = w / scale / (w @ v * value), v * scale
    terms = Terms(system, names, theta, inputs)
    t, y = jnp.asarray(t, float), jnp.asarray(y, float)
    slopes = np.asarray(terms.slopes(t, y, theta, inputs))
    rows = np.array([names.index(term.equation) for term in terms.all], int)
    parts = (w[rows, None] * slopes * v).real
    entries = np.zeros((len(names), len(names)))
    np.add.at(entries, rows, parts)
    change = _logarithmic_changes(system, names, w, v, t, y, theta, inputs)
    return Cause(
        complex(value),
        entries,
        tuple(term.equation for term in terms.all),
        tuple(term.text for term in terms.all),
        parts.sum(axis=1),
        {name: float(theta[name]) * float(change[name]) for name in theta},
    )


def _resolved(values: np.ndarray, picked: int, w: np.ndarray, v: np.ndarray) -> bool:
    """Whether the eigenvectors determine the parts; a poor condition alone may be one of the units of the states."""
    overlap, others = DEFECTIVE * abs(w @ v), np.delete(values, picked)
    cancels = overlap < np.abs(w) @ np.abs(v)
    multiple = np.any(np.abs(others - values[picked]) <= COINCIDENT * abs(values[picked]))
    return not (cancels or (multiple and overlap < 1.0))


@partial(jax.jit, static_argnames=("system", "names"))
def _logarithmic_changes(
    system: Ode, names: tuple[str, ...], w, v, t, y, theta: Values, inputs: Inputs
) -> dict[str, Array]:
    """Parameter -> the real part of w' (dJ/dp) v, which is d log abs(lambda) / dp for w' v = 1 / lambda."""

    def pushed(theta, direction):
        def slope(y):
            rates = system.rhs(t, dict(zip(names, y, strict=True)), theta, inputs)
            return stacked(rates, names)

        return jax.jvp(slope, (y,), (direction,))[1]

    def logarithm(theta):
        real, imaginary = pushed(theta, jnp.real(v)), pushed(theta, jnp.imag(v))
        return jnp.real(w) @ real - jnp.imag(w) @ imaginary

    return jax.jacfwd(logarithm)(theta) if theta else {}


def parameters_behind(cause: Cause, space: Space | None) -> tuple[str, ...]:
    """The parameters that move the eigenvalue most, the first of them first; of alike ones a material property."""
    sizes = {name: abs(value) for name, value in cause.sensitivity.items()}
    largest = max(sizes.values(), default=0.0)
    behind = [name for name, size in sizes.items() if size >= max(CAUSE * largest, 1e-12)]
    return tuple(
        sorted(behind, key=lambda name: (-round(sizes[name] / largest / TIED), not _is_material(name, space), name))
    )


def physical_stiffness(cause: Cause, space: Space | None) -> tuple[str, str]:
    """Whether a material property is behind the eigenvalue ("yes", "no", "not resolved"), and which, or why not."""
    behind = parameters_behind(cause, space)
    if space is None:
        return "not resolved", "no units were given; pass space="
    raising = [name for name in behind if cause.sensitivity[name] > 0]
    stiff = [name for name in raising if _is_material(name, space)]
    if stiff:
        return "yes", f"{stiff[0]} is a material property ({space[stiff[0]].unit})"
    if not behind:
        return "no", "no parameter moves it"
    name = behind[0]
    unit = f"unit {space[name].unit}" if space[name].unit else "no unit"
    return "no", f"{name} is no material property ({unit})"


def _is_material(name: str, space: Space | None) -> bool:
    return space is not None and name in space and _resists(space[name].unit)


@cache
def _units():
    import pint

    return pint.UnitRegistry(cache_folder=None)


@cache
def _resists(unit: str) -> bool:
    """Whether a quantity of this unit says how much a material resists deformation."""
    import pint

    try:
        dimension = _units().parse_units(unit).dimensionality
    except pint.PintError:
        # units that count molecules or cells are known to models only, and are of no material
        return False
    return any(dimension == _units().parse_units(known).dimensionality for known in MATERIAL_UNITS)


def sentence(cause: Cause, space: Space | None) -> str:
    """The terms and the parameters behind a mode, as a modeller reads them."""
    order = np.argsort(-np.abs(cause.shares), kind="stable")
    named: list[str] = []
    total = 0.0
    for k in order:
        if len(named) == 3 or abs(total - 1.0) <= 1.0 - NAMED:
            break
        named.append(f"{cause.terms[k]} in {cause.equations[k]}' ({100 * cause.shares[k]:.0f} %)")
        total += cause.shares[k]
    value = cause.eigenvalue
    oscillates = abs(value.imag) > abs(value.real)
    rate = f"angular frequency {abs(value.imag):.3g}" if oscillates else f"rate {abs(value.real):.3g}"
    behind = [f"{name} ({cause.sensitivity[name]:+.2g})" for name in parameters_behind(cause, space)]
    through = f", through {' and '.join(behind)}" if behind else ""
    return f"caused by {', '.join(named)}, {rate} per unit of time{through}"


def as_columns(cause: Cause | None, names: tuple[str, ...], parameters: Mapping) -> dict:
    """The parts as variables of a dataset; NaN where there is no cause."""
    if cause is None:
        cause = Cause(
            np.nan, np.full((len(names),) * 2, np.nan), (), (), np.zeros(0), dict.fromkeys(parameters, np.nan)
        )
    return {
        "entry_share": (("equation", "state"), cause.entries),
        "term_share": ("term", cause.shares),
        "term_equation": ("term", np.array(cause.equations, dtype=str)),
        "sensitivity": ("parameter", np.array([cause.sensitivity[name] for name in parameters])),
    }
