"""Epithelium on stroma: a signal that some cells secrete, on two grids that do not match, joined by multipliers.

The signal diffuses in both tissues, is secreted by a stripe of the epithelium, 0 < x < 100 um, and degraded in the
stroma, 100 < x < 300 um. It is washed off at the lumen, x = 0, and taken away by vessels at x = 300. Between the
tissues it is exchanged with a partition coefficient and a permeability. The flux through the interface is one function
of y, the multiplier, so that what leaves the epithelium enters the stroma to rounding whatever the grids: `mismatch`
and `balance` are at 1e-12, which stands for rounding.
"""

import jax.numpy as jnp
import numpy as np

from uqbench import LogNormal, Model, Space, epistemic
from uqbench.interfaces import SENTENCES, MortarInterface, Rectangle, imbalance

EPITHELIUM = Rectangle((0.0, 100.0), (0.0, 200.0), (8, 16), "um")
STROMA = Rectangle((100.0, 300.0), (0.0, 200.0), (10, 11), "um")
tissues = MortarInterface(EPITHELIUM, STROMA)
# Half of the width of the stripe that secretes, and of its rim, um.
STRIPE, RIM = 40.0, 10.0

space = Space(
    D_1=epistemic(LogNormal(median=10.0, sigma=0.4), "um^2/s", "diffusivity in the epithelium"),
    D_2=epistemic(LogNormal(median=50.0, sigma=0.4), "um^2/s", "diffusivity in the stroma"),
    K=epistemic(LogNormal(median=1.5, sigma=0.3), "", "concentration in the epithelium over that in the stroma"),
    P=epistemic(LogNormal(median=1.0, sigma=0.5), "um/s", "permeability of the basement membrane"),
    q=epistemic(LogNormal(median=0.01, sigma=0.5), "nM/s", "secretion in the stripe"),
    k=epistemic(LogNormal(median=1e-3, sigma=0.5), "1/s", "degradation in the stroma"),
)


def secretion(q):
    """At the points of the epithelium, `(nx + 1, ny + 1)`."""
    from_centre = np.abs(EPITHELIUM.points(1) - np.mean(EPITHELIUM.y))
    share = 0.5 * (1 - np.tanh((from_centre - STRIPE) / RIM))
    return q * jnp.asarray(np.broadcast_to(share, (EPITHELIUM.cells[0] + 1, EPITHELIUM.cells[1] + 1)))


def simulate(theta, design, key):
    found = tissues.steady(
        diffusivity=(theta["D_1"], theta["D_2"]),
        outer=(0.0, 0.0),
        source=(secretion(theta["q"]), 0.0),
        decay=(0.0, theta["k"]),
        partition=theta["K"],
        permeability=theta["P"],
    )
    outputs = {
        "epithelium": found.first,
        "stroma": found.second,
        "flux": found.flux,
        "crossing": found.crossing,
        "washed_off": -found.inflow,
        "mismatch": imbalance(found.mismatch, 1.0),
        "balance": imbalance(found.balance, 1.0),
    }
    return outputs, found.result


model = Model.from_function(
    space,
    simulate,
    units={
        **dict.fromkeys(("epithelium", "stroma"), "nM"),
        "flux": "nM*um/s",
        # by length of the tissue across the plane
        **dict.fromkeys(("crossing", "washed_off"), "nM*um^2/s"),
        **dict.fromkeys(("mismatch", "balance"), ""),
    },
    name="mortar_interface",
    results=SENTENCES,
    dims={
        "epithelium": ("x_1", "y_1"),
        "stroma": ("x_2", "y_2"),
        "flux": ("y_flux",),
        **dict.fromkeys(("crossing", "washed_off", "mismatch", "balance"), ()),
    },
    coords={
        "x_1": EPITHELIUM.points(0).tolist(),
        "y_1": EPITHELIUM.points(1).tolist(),
        "x_2": STROMA.points(0).tolist(),
        "y_2": STROMA.points(1).tolist(),
        "y_flux": tissues.flux_points.tolist(),
    },
)
