"""A substance that enters a medium of cells through a wall and is consumed: its profile over the depth, and the error.

The medium has square inclusions of a quarter of the area, with k times the diffusivity D_m of the matrix; the wall cuts
them at their edge. The homogenised profile obeys D_hom c'' = K c, with the value one at the first wall and zero at the
second; it is wrong by the size of the cells. The wall law (Allaire & Amar 1999,
doi:10.1051/cocv:1999110) shifts the wall, after which the mean over cells is right to second order.

`concentration` has the shifted wall, `unshifted` the wall where it is; `relative_error` is that of the unshifted mean
and `oscillation` the deviation within cells, both to first order in the size of a cell over the decay length
sqrt(D_hom / K).
"""

import jax.numpy as jnp

from uqbench import LogNormal, Model, Space, epistemic
from uqbench.macroscopic import SENTENCES, homogenisation_error, homogenised_profile, wall_law

# Voxels along each edge of a cell, and the slab in cells.
VOXELS, CELLS = 16, 20

space = Space(
    D_m=epistemic(LogNormal(median=1.0, sigma=0.3), "um^2/ms", "diffusivity of the matrix"),
    k=epistemic(LogNormal(median=10.0, sigma=0.5), "", "diffusivity of the inclusions relative to the matrix"),
    K=epistemic(LogNormal(median=1e-3, sigma=0.3), "1/ms", "rate of consumption"),
    cell=epistemic(LogNormal(median=10.0, sigma=0.2), "um", "length of a cell"),
)


def medium(D_m, k):
    """The diffusivity in each voxel of a cell, in the unit of D_m."""
    inside = jnp.arange(VOXELS) < VOXELS // 2
    return D_m * jnp.where(inside[:, None] & inside, k, 1.0)


def simulate(theta, design, key):
    # lengths in voxels, the rate of consumption in the diffusivity's unit over their square
    step = theta["cell"] / VOXELS
    law = wall_law(medium(theta["D_m"], theta["k"]))
    rate = theta["K"] * step**2
    settings = {"length": CELLS * VOXELS, "consumption": rate, "walls": (1.0, 0.0)}
    source = jnp.zeros(CELLS * VOXELS + 1)
    shifted = homogenised_profile(law.diffusivity, source, shifts=law.shifts, **settings)
    plain = homogenised_profile(law.diffusivity, source, **settings)
    decay = jnp.sqrt(law.diffusivity / rate)
    error = homogenisation_error(law, decay)
    outputs = {
        "concentration": shifted.concentration[::VOXELS],
        "unshifted": plain.concentration[::VOXELS],
        "decay_length": decay * step,
        "wall_shift": law.shifts[0] * step,
        "relative_error": error.mean,
        "oscillation": error.oscillation,
    }
    return outputs, law.result


model = Model.from_function(
    space,
    simulate,
    units={
        "concentration": "",
        "unshifted": "",
        "decay_length": "um",
        "wall_shift": "um",
        "relative_error": "",
        "oscillation": "",
    },
    name="macroscopic_profile",
    results=SENTENCES,
    dims={"concentration": ("depth",), "unshifted": ("depth",)},
    coords={"depth": [float(at) for at in range(CELLS + 1)]},
)
