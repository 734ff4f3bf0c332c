"""A random medium as a whole: the effective diffusivity of windows of a lognormal field, and what windows err by.

ln D is a stationary Gaussian field in two dimensions. An infinite medium has D_hom = exp(E ln D), the median of D,
because D and 1/D have the same law up to a factor (Matheron 1967); a window of finite length has an
apparent value of its own in every realisation. `model` has that of one periodic window of `WINDOW` correlation
lengths: random, so a run needs a key, and the derivative of a run is that of its realisation.

The mean over windows costs much less by `multilevel_estimate` of `levels`, the same realisations on a grid that is
coarser four times, and with the geometric mean of each window as control: at equal standard error a plain ensemble
takes 80 times as long where sd is 1. The error of the window is the same, of the order of its length^-2.
"""

import jax.numpy as jnp

from uqbench import HalfNormal, LogNormal, Model, Space, epistemic
from uqbench.homogenisation import SENTENCES, effective_tensor
from uqbench.random_media import Correlation, Embedding, Level, coarsened, embed, lognormal

# Voxels for each correlation length, and correlation lengths along each edge of the window.
VOXELS, WINDOW = 4, 16
# Voxels along each edge of a coarse cell, and how much longer the voxels take than the coarse cells.
COARSE, RATIO = 4, 6.0
# Relative to the harmonic mean; far below what windows differ by.
TOLERANCE = 1e-6

space = Space(
    median=epistemic(LogNormal(median=3.0, sigma=0.3), "um^2/ms", "median of the diffusivity"),
    sd=epistemic(HalfNormal(0.7), "", "standard deviation of its logarithm"),
)


def medium(window: int):
    """The embedding of a periodic window of so many correlation lengths, the unit of length."""
    cells = VOXELS * window
    return embed((cells, cells), (1 / VOXELS, 1 / VOXELS), Correlation("gaussian"), (1.0, 1.0), periodic=True)


EMBEDDING = medium(WINDOW)


def apparent(median, sd, key, embedding):
    """The tensor `(2, 2)` of one realisation, and its code."""
    field = embedding.field(embedding.noise(key), jnp.array([1.0, 1.0]))
    found = effective_tensor(lognormal(field, median, sd))
    return found.tensor, found.result


def levels(median, sd, embedding: Embedding):
    """Coarse and fine `Level` of a window, its control as a function of the key, and the expected value of that.

    The control is the geometric mean, lognormal as the mean of ln D is normal with the variance of the field's mean.
    """
    lengths = jnp.array([1.0, 1.0])

    def cell(key):
        return lognormal(embedding.field(embedding.noise(key), lengths), median, sd)

    def entry(coefficient):
        return jnp.trace(effective_tensor(coefficient, tolerance=TOLERANCE).tensor) / 2

    variance = embedding.spectrum(lengths)[0][0, 0] / jnp.prod(jnp.array(embedding.shape))
    return (
        Level(lambda key: entry(coarsened(cell(key), COARSE)), 1.0),
        Level(lambda key: entry(cell(key)), RATIO),
        lambda key: jnp.exp(jnp.mean(jnp.log(cell(key)))),
        [float(median * jnp.exp(sd**2 * variance / 2))],
    )


def simulate(theta, design, key):
    tensor, result = apparent(theta["median"], theta["sd"], key, EMBEDDING)
    return {"D_eff": jnp.trace(tensor) / 2}, result


model = Model.from_function(
    space,
    simulate,
    units={"D_eff": "um^2/ms"},
    stochastic=True,
    gradient="statistical",
    name="stochastic_homogenization",
    results=SENTENCES,
    dims={"D_eff": ()},
)
