"""Cells one by one in a continuum: a colony grows into a strip and takes a drug up as it goes.

Each cell moves at random (motility D_cell), divides at the rate r and dies at the rate r n/K where n cells per length
are around it; a dying cell gives back what it had. The drug diffuses (D_drug) and cells clear it. Field and cells meet
through one kernel, so that `lost`, what is missing of all the drug, is 0 (see `uqbench.balance`). `mean_field` is the
limit of many cells,

    dn/dt = D_cell d2n/dx2 + r n (1 - n/K),    dc/dt = D_drug d2c/dx2 - clearance n c,

whose front travels with 2 sqrt(r D_cell) in the end (Fisher 1937; Kolmogorov, Petrovsky & Piskunov 1937); that of
single cells is slower, the more so the fewer there are (Brunet & Derrida 1997, doi:10.1103/PhysRevE.56.2597). `model`
is random, so a run needs a key, and a derivative of a run by r is none: divisions jump.
"""

import jax
import jax.numpy as jnp
import numpy as np

from uqbench import LogNormal, Model, Space, epistemic, fixed
from uqbench.agents import SENTENCES, density, died, diffused, divided, ending, gather, moved, placed, taken_up
from uqbench.balance import leaked

# Cells of the grid along the strip, length of the strip and of the colony at the start in mm, steps of a run.
CELLS, STRIP, COLONY, STEPS = 200, (2.0,), 0.2, 200
START, CAPACITY = 400, 8192

space = Space(
    D_cell=epistemic(LogNormal(median=2e-4, sigma=0.3), "mm^2/h", "motility of a cell"),
    r=epistemic(LogNormal(median=0.05, sigma=0.2), "1/h", "rate of division"),
    clearance=epistemic(LogNormal(median=5e-5, sigma=0.3), "mm/h", "drug cleared by a cell"),
    D_drug=epistemic(LogNormal(median=0.02, sigma=0.3), "mm^2/h", "diffusivity of the drug"),
    K=fixed(2000.0, "1/mm", "density at which as many die as divide"),
    dose=fixed(1.0, "nmol", "drug in the strip at the start"),
)
places = (np.arange(START)[:, None] + 0.5) / START * COLONY
middles = (np.arange(CELLS) + 0.5) / CELLS * STRIP[0]


def step(theta, dt, agents, field, key):
    """One step of movement, diffusion, uptake, division and death, each exact for itself."""
    keys = jax.random.split(key, 3)
    agents = moved(agents, keys[0], theta["D_cell"], dt, STRIP)
    field = diffused(field, theta["D_drug"], dt, STRIP)
    agents, field = taken_up(agents, field, theta["clearance"], dt, STRIP)
    crowding = gather(density(agents, field.shape, STRIP), agents.places, STRIP) / theta["K"]
    agents, field = died(agents, field, keys[1], -jnp.expm1(-theta["r"] * crowding * dt), STRIP)
    return divided(agents, keys[2], -jnp.expm1(-theta["r"] * dt)), field


def simulate(theta, design, key):
    dt = design.times[-1] / STEPS

    def advance(state, key):
        agents, field = step(theta, dt, *state, key)
        return (agents, field), (
            agents.living,
            jnp.sum(agents.content),
            jnp.sum(field),
            density(agents, (CELLS,), STRIP),
        )

    agents = placed(jnp.asarray(places), CAPACITY, STRIP)
    field = jnp.full((CELLS,), 1.0 / CELLS) * theta["dose"]
    start = (agents.living, jnp.zeros(()), jnp.sum(field), density(agents, (CELLS,), STRIP))
    (agents, _), series = jax.lax.scan(advance, (agents, field), jax.random.split(key, STEPS))
    count, inside, outside, profile = (
        jnp.concatenate([jnp.asarray(a, float)[None], b]) for a, b in zip(start, series, strict=True)
    )
    return _at_times(design.times, count, inside, outside, profile, theta), ending(agents, STRIP)


def mean_field_run(theta, design, key):
    """The same steps with densities for cells."""
    dt = design.times[-1] / STEPS
    width = STRIP[0] / CELLS

    def advance(state, _):
        n, content, field = state
        n = diffused(n, theta["D_cell"], dt, STRIP)
        content = diffused(content, theta["D_cell"], dt, STRIP)
        field = diffused(field, theta["D_drug"], dt, STRIP)
        taken = -field * jnp.expm1(-theta["clearance"] * n * dt)
        # what dying cells give back
        released = (content + taken) * -jnp.expm1(-theta["r"] * n / theta["K"] * dt)
        content, field = content + taken - released, field - taken + released
        growth = jnp.exp(theta["r"] * dt)
        n = n * growth / (1 + n / theta["K"] * (growth - 1))
        return (n, content, field), (jnp.sum(n) * width, jnp.sum(content), jnp.sum(field), n)

    n = jnp.where(jnp.asarray(middles) < COLONY, START / COLONY, 0.0)
    field = jnp.full((CELLS,), 1.0 / CELLS) * theta["dose"]
    start = (jnp.sum(n) * width, jnp.zeros(()), jnp.sum(field), n)
    _, series = jax.lax.scan(advance, (n, jnp.zeros(CELLS), field), None, length=STEPS)
    count, inside, outside, profile = (jnp.concatenate([a[None], b]) for a, b in zip(start, series, strict=True))
    return _at_times(design.times, count, inside, outside, profile, theta)


def _at_times(times, count, inside, outside, profile, theta):
    grid = jnp.linspace(0.0, times[-1], STEPS + 1)
    series = {"cells": count, "in_cells": inside, "outside": outside}
    found = {name: jnp.interp(times, grid, values) for name, values in series.items()}
    lost = theta["dose"] - found["in_cells"] - found["outside"]
    density = jax.vmap(lambda values: jnp.interp(times, grid, values), in_axes=1, out_axes=1)(profile)
    return {**found, "lost": leaked(lost, theta["dose"]), "density": density}


UNITS = {"cells": "", "in_cells": "nmol", "outside": "nmol", "lost": "nmol", "density": "1/mm"}
AXES = {"dims": {"density": ("time", "x")}, "coords": {"x": middles.tolist()}}
model = Model.from_function(
    space, simulate, UNITS, stochastic=True, name="agents_continuum", gradient="none", time_unit="h",
    results=SENTENCES, **AXES,
)  # fmt: skip
mean_field = Model.from_function(space, mean_field_run, UNITS, name="mean field of agents", time_unit="h", **AXES)
