"""Integrals over boxes by the trapezoidal rule, for densities that vanish at the faces of the box.

Of an analytic integrand that vanishes there the rule converges faster than any power of the spacing (Trefethen &
Weideman 2014, doi:10.1137/130932132). Every second node is a rule too, and the difference of the two, with what is left
at the faces, says how much an integral errs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..errors import InputError


class Box(NamedTuple):
    """Nodes of a rule.

    Args:
        places: of the nodes. volumes: of the rule. coarser: of the rule with every second node, 0 at the others.
        face: whether a node lies on a face of the box.
        nodes: number along each axis.
    """

    places: Float[np.ndarray, "nodes axes"]
    volumes: Float[np.ndarray, " nodes"]
    coarser: Float[np.ndarray, " nodes"]
    face: Bool[np.ndarray, " nodes"]
    nodes: int


def box(limits: Sequence[tuple[float, float]], nodes: int = 257) -> Box:
    """The rule on a box.

    Args:
        limits: lower and upper end along each axis. nodes: along each axis, an odd number.

    Raises:
        InputError: limits that are not in order, an even number of nodes, more than 10^7 in all.

    Example:
        >>> box([(0.0, 1.0)], 5).volumes.tolist()
        [0.125, 0.25, 0.25, 0.25, 0.125]
    """
    findings = [
        f"the limits of axis {axis} are {low} and {high}; give finite numbers, the lower first."
        for axis, (low, high) in enumerate(limits)
        if not -np.inf < low < high < np.inf
    ]
    if nodes < 5 or nodes % 2 == 0:
        findings.append(f"nodes is {nodes}; give an odd number, 5 or more.")
    elif not limits or nodes ** len(limits) > 10**7:
        findings.append(f"{nodes} nodes along each of {len(limits)} axes; give 1 to 10^7 in all.")
    if findings:
        raise InputError("quadrature", findings)
    axes, fine, coarse, faces = [], [], [], []
    for low, high in limits:
        step = (high - low) / (nodes - 1)
        inner = np.full(nodes, 1.0)
        inner[[0, -1]] = 0.5
        axes.append(np.linspace(low, high, nodes))
        fine.append(step * inner)
        coarse.append(2 * step * inner * (np.arange(nodes) % 2 == 0))
        faces.append(np.isin(np.arange(nodes), (0, nodes - 1)))
    places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    return Box(
        places, _product(fine), _product(coarse), np.any(np.meshgrid(*faces, indexing="ij"), axis=0).ravel(), nodes
    )


def _product(rows: Sequence[np.ndarray]) -> np.ndarray:
    """The product over axes, at each node."""
    return np.prod(np.meshgrid(*rows, indexing="ij"), axis=0).ravel()


def log_integral(logarithm: Float[Array, " nodes"], rule: Box) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Logarithm of the integral of exp(logarithm), and about how much it errs.

    The error is the difference to the coarser rule, and what the density at the faces would amount to if it went on for
    another width of the box.
    """
    fine = jax.nn.logsumexp(logarithm, b=rule.volumes)
    coarser = jax.nn.logsumexp(logarithm, b=rule.coarser)
    beyond = jnp.sum(jnp.where(rule.face, rule.volumes * jnp.exp(logarithm - fine), 0.0)) * 2 * rule.nodes
    return fine, jnp.abs(fine - coarser) + beyond
