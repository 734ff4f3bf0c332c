"""A drug in a layer of tumour tissue: from cells, membranes and the space between them to a profile over the depth.

One side of a layer of thickness L, as of a multicellular layer culture, is exposed to a drug of the concentration c0.
At the scale of the tissue it diffuses and is consumed,

    dc/dt = D_eff d2c/dx2 - k_eff c,    c(0) = c0,    dc/dx = 0 at L,    c = 0 at the start,

which is `tissue`: D_eff and k_eff are numbers of their own. At the scale of the cells D_eff is the effective
diffusivity of cells of the volume fraction phi with membranes of permeability P, in extracellular space of diffusivity
D_ext, and cells alone consume: k_eff = phi k. `model` is the tissue closed by regular cells, hexagons, and `sample`
that by irregular ones, which differ from sample to sample, so that a run needs a key. Cells are columns: the cell
problem is two-dimensional. Inside and outside share one concentration at the scale of the tissue, since cells fill
within seconds, (phi/P) (area of membrane per volume)^-1.
"""

import jax.numpy as jnp
import numpy as np

from uqbench import Beta, LogNormal, Model, Normal, Ode, Space, aleatory, epistemic, fixed
from uqbench.homogenisation import SENTENCES, at_fraction, membrane_tensor
from uqbench.random_media import distance_to_walls, random_places

# Voxels along the diameter of a cell, of hexagons and of the many irregular ones, and layers of the tissue.
HEXAGON_VOXELS, VOXELS, LAYERS = 24, 16, 25
# Depths of the measured outputs, um.
DEPTHS = (10.0, 40.0, 80.0, 130.0, 180.0)
# Volume fraction of the disks that irregular cells are grown around: the higher, the more alike cells are.
REGULARITY = 0.35

layer = {
    "c0": fixed(10.0, "uM", "concentration at the exposed side"),
    "L": fixed(200.0, "um", "thickness of the layer"),
    "cv": epistemic(LogNormal(median=0.08, sigma=0.3), "", "coefficient of variation of a measurement"),
}
tissue_space = Space(
    D_eff=epistemic(LogNormal(median=80.0, sigma=0.6), "um^2/s", "effective diffusivity"),
    k_eff=epistemic(LogNormal(median=2e-3, sigma=0.7), "1/s", "consumption in the tissue"),
    **layer,
)
cell_space = Space(
    phi=epistemic(Beta(30.0, 25.0), "", "volume fraction of the cells"),
    P=epistemic(LogNormal(median=1.0, sigma=1.0), "um/s", "permeability of the membrane"),
    D_ext=epistemic(LogNormal(median=300.0, sigma=0.4), "um^2/s", "diffusivity between the cells"),
    k=epistemic(LogNormal(median=4e-3, sigma=0.7), "1/s", "consumption in cells"),
    D_int=fixed(100.0, "um^2/s", "diffusivity in the cells"),
    diameter=fixed(12.0, "um", "diameter of a cell"),
    **layer,
)


# Samples differ in how densely their cells lie.
sample_space = Space(
    {**cell_space, "phi": aleatory(Beta(150.0, 125.0), "", "volume fraction of the cells of a sample")},
)


def initial(p, inputs):
    return {"c": jnp.zeros(LAYERS)}


def rhs(t, y, p, inputs):
    """Finite volumes: layers of equal thickness, the exposed side half a layer from the middle of the first."""
    width, c = p["L"] / LAYERS, y["c"]
    entering = 2 * p["D_eff"] * (p["c0"] - c[:1]) / width
    between = -p["D_eff"] * (c[1:] - c[:-1]) / width
    flux = jnp.concatenate([entering, between, jnp.zeros(1)])
    return {"c": (flux[:-1] - flux[1:]) / width - p["k_eff"] * c}


def observe(y, p):
    middles = (np.arange(LAYERS) + 0.5) / LAYERS * float(layer["L"].dist)
    measured = {name: _between(y["c"], middles, depth) for name, depth in zip(measured_outputs, DEPTHS, strict=True)}
    return {**measured, "c": y["c"]}


def _between(values, places, depth):
    """Linear interpolation at a place known beforehand."""
    after = int(np.clip(np.searchsorted(places, depth), 1, len(places) - 1))
    weight = (depth - places[after - 1]) / (places[after] - places[after - 1])
    return (1 - weight) * values[after - 1] + weight * values[after]


measured_outputs = tuple(f"c_{depth:g}um" for depth in DEPTHS)
tissue = Model(
    tissue_space,
    Ode(initial, rhs, rtol=1e-6),
    observe,
    {**dict.fromkeys(measured_outputs, "uM"), "c": "uM"},
    {name: Normal(name, f"cv*{name} + 0.02*c0") for name in measured_outputs},
    name="tissue",
    time_unit="s",
    dims={"c": ("time", "depth")},
    coords={"depth": ((np.arange(LAYERS) + 0.5) / LAYERS * float(layer["L"].dist)).tolist()},
)


def hexagons():
    """Distance to walls of hexagons of diameter 1 in a rectangle of two of them, and the edges of its voxels."""
    extent = (1.0, np.sqrt(3.0))
    shape = (HEXAGON_VOXELS, round(HEXAGON_VOXELS * extent[1]))
    places = jnp.array([[0.0, 0.0], [0.5, extent[1] / 2]])
    edges = tuple(length / count for length, count in zip(extent, shape, strict=True))
    return np.asarray(distance_to_walls(places, shape, extent)), edges


WALLS, EDGES = hexagons()


def effective(p, walls, edges):
    """D_eff of cells with these walls, lengths in diameters, and its code."""
    diameter = p["diameter"]
    cells = at_fraction(walls, p["phi"], spacing=edges)
    found = membrane_tensor(cells, p["D_int"], p["D_ext"], p["P"] * diameter, spacing=edges)
    return found.tensor[0, 0], found.result


def regular(p):
    D_eff, code = effective(p, WALLS, EDGES)
    return {"D_eff": D_eff, "k_eff": p["k"] * p["phi"]}, code


class Irregular:
    """Cells of a sample, `window` times `window` of them."""

    def __init__(self, window: int):
        self.window = window

    def __call__(self, p, key):
        extent = (self.window, self.window)
        places = random_places(key, self.window**2, extent, fraction=REGULARITY)
        walls = distance_to_walls(places, (self.window * VOXELS,) * 2, extent)
        D_eff, code = effective(p, walls, (1 / VOXELS,) * 2)
        return {"D_eff": D_eff, "k_eff": p["k"] * p["phi"]}, code


model = tissue.closed_by(cell_space, regular, results=SENTENCES, name="tumour_tissue")


def sample(window: int) -> Model:
    """Tissue of irregular cells, of which each sample has `window` times `window` that matter for its D_eff."""
    return tissue.closed_by(
        sample_space,
        Irregular(window),
        stochastic=True,
        results=SENTENCES,
        name=f"tumour_tissue of {window} x {window} cells",
        gradient="statistical",
    )
