"""Square inclusions in a matrix: the effective diffusivity of the medium from that of its parts.

On the unit cell -div(D (e + grad chi)) = 0 with periodic chi, and D_hom e is the mean of D (e + grad chi). The
inclusion is a square of a quarter of the area. With k the ratio of its diffusivity to D_m, that of the matrix, Obnosov
(1999, SIAM J. Appl. Math. 59, 1267) has D_hom = D_m sqrt((1 + 3k)/(3 + k)), `closed_form`. `model` has the tensor of
a grid of 64 x 64 voxels, to 1.6e-6 at k = 10 and 7e-6 at k = 1000 or 1/1000, with exact derivatives of that grid's
tensor; from the macroscopic scale alone D_m and k cannot be told apart.
"""

import jax.numpy as jnp

from uqbench import LogNormal, Model, Space, epistemic
from uqbench.homogenisation import SENTENCES, effective_tensor

# Voxels along each edge of the cell.
VOXELS = 64

space = Space(
    D_m=epistemic(LogNormal(median=1.0, sigma=0.3), "um^2/ms", "diffusivity of the matrix"),
    k=epistemic(LogNormal(median=10.0, sigma=0.5), "", "diffusivity of the inclusions relative to the matrix"),
)


def cell(D_m, k):
    """The diffusivity in each voxel, in the unit of D_m."""
    inside = jnp.arange(VOXELS) < VOXELS // 2
    return D_m * jnp.where(inside[:, None] & inside, k, 1.0)


def closed_form(D_m, k):
    """Obnosov's effective diffusivity, in the unit of D_m."""
    return D_m * jnp.sqrt((1 + 3 * k) / (3 + k))


def simulate(theta, design, key):
    found = effective_tensor(cell(theta["D_m"], theta["k"]))
    return {"D_hom": found.tensor, "D_eff": found.tensor[0, 0]}, found.result


model = Model.from_function(
    space,
    simulate,
    units={"D_hom": "um^2/ms", "D_eff": "um^2/ms"},
    name="periodic_homogenization",
    results=SENTENCES,
    dims={"D_hom": ("direction", "gradient"), "D_eff": ()},
    coords={"direction": ["x", "y"], "gradient": ["x", "y"]},
)
