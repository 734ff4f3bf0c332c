# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # From the microstructure to the tissue
#
# A drug crosses a layer of cells. What the layer does as a whole follows from its cells, their membranes and the channels
# between them; what is measured in the layer tells less of these than one would like.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import uqbench as uq
from forward_models import tumour_tissue
from studies.tumour_diffusion import samples, study
from uqbench.decomposition import source_indices
from uqbench.homogenisation import at_fraction, effective_bounds, effective_tensor, membrane_tensor
from uqbench.identifiability import fisher_information, structural_identifiability
from uqbench.macroscopic import (
    corrected_field,
    errors_in_epsilon,
    homogenised_profile,
    nonlocal_kernel,
    nonlocal_profile,
    resolved_problem,
    wall_law,
)
from uqbench.random_media import (
    Correlation,
    apparent_values,
    distance_to_balls,
    distance_to_walls,
    embed,
    grown,
    lognormal,
    random_places,
)
from uqbench.representative_volume import rev_analysis
from uqbench.representative_volume.figures import rev_figure


def show(axis, field, title, **settings):
    axis.imshow(np.asarray(field).T, origin="lower", **settings)
    axis.set(xticks=[], yticks=[], title=title)


# %% [markdown]
# ## Media
#
# A Gaussian field raised to a lognormal diffusivity, disks at a volume fraction, and packed cells: the walls of a Voronoi
# tessellation, moved apart until cells fill 60 % of the volume.

# %%
keys, voxels, edge = jax.random.split(jax.random.key(0), 3), 128, 8.0
embedding = embed((voxels, voxels), (edge / voxels,) * 2, Correlation("exponential"), (0.5, 0.5), periodic=True)
field = lognormal(embedding.field(embedding.noise(keys[0]), jnp.array([0.5, 0.5])), 1.0, 1.0)
places = random_places(keys[1], 40, (edge, edge), fraction=0.3)
disks, _ = grown(distance_to_balls(places, (voxels, voxels), (edge, edge)), 0.3, edge / voxels)
centres = random_places(keys[2], 36, (edge, edge), fraction=tumour_tissue.REGULARITY)
cells = at_fraction(distance_to_walls(centres, (voxels, voxels), (edge, edge)), 0.6, spacing=edge / voxels)

figure, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
show(axes[0], np.log(field), "lognormal diffusivity", cmap="cividis")
show(axes[1], disks, "disks, 30 %", cmap="cividis")
show(axes[2], cells > 0, "packed cells, 60 %", cmap="cividis")

# %% [markdown]
# ## Correctors
#
# In a uniform gradient the concentration follows the medium. What it departs by from the gradient is the corrector; its
# energy is the effective diffusivity, and its squared gradient the derivative of that by every voxel.

# %%
coefficient = 1.0 + 9.0 * disks
tensor = effective_tensor(coefficient)
sensitivity = jax.grad(lambda D: effective_tensor(D).tensor[0, 0])(coefficient)
membranes = membrane_tensor(cells, 100.0, 300.0, 1.0 * 12.0, spacing=edge / voxels)

figure, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
show(axes[0], tensor.correctors[0], "corrector, disks of 10", cmap="RdBu")
show(axes[1], np.log10(sensitivity), "log derivative of $D_{xx}$", cmap="cividis")
show(axes[2], np.where(cells > 0, *membranes.correctors[0]), "corrector, cells with membranes", cmap="RdBu")
np.round(tensor.tensor, 4), np.round(membranes.tensor, 2)

# %% [markdown]
# The residual of a grid says nothing of the grid itself. Bounds do: any temperature field and any flux without divergence
# bracket the truth, here on a checkerboard, whose effective diffusivity is the geometric mean.

# %%
side = jnp.arange(2) < 1
rows = []
for contrast in (10.0, 100.0, 1000.0):
    bracket = effective_bounds(jnp.where(side[:, None] == side, 1.0, contrast))
    rows.append((contrast, contrast**0.5, float(bracket.lower[0, 0]), float(bracket.upper[0, 0])))
table = pd.DataFrame(rows, columns=["contrast", "truth", "lower", "upper"])
assert ((table.lower < table.truth) & (table.truth < table.upper)).all()
table.round(5)

# %% [markdown]
# ## Which window represents the medium
#
# Small windows differ from one another, large ones see the tumour change from rim to core. A representative volume lies
# between, if there is one.

# %%
many = random_places(jax.random.key(3), 500, (20.0, 20.0), fraction=0.3)
sample = 1.0 + 4.0 * np.asarray(grown(distance_to_balls(many, (240, 240), (20.0, 20.0)), 0.3, 20 / 240)[0])
rim_to_core = sample * np.linspace(1.0, 2.5, 240)[:, None]
analyses = [
    rev_analysis(each, voxel_size=2.0, unit="um", property="mean", tolerance=0.1) for each in (sample, rim_to_core)
]
assert analyses[0].interval is not None and analyses[1].interval is None
print(*analyses, sep="\n\n")

# %%
rev_figure(analyses[0])

# %%
rev_figure(analyses[1])

# %% [markdown]
# ## What differs from sample to sample
#
# A sample of a few cells has an effective diffusivity of its own. Its variance falls with the number of cells in it: an
# aleatory part that no measurement of other samples removes, and that larger windows do.

# %%
theta = tumour_tissue.sample(2).space.nominal()


def ensemble(window, realisations=24):
    """D_eff of samples of so many cells along each edge."""
    cells_of = tumour_tissue.Irregular(window)

    def apparent(key):
        return cells_of(theta, key)[0]["D_eff"]

    return np.asarray(jax.jit(lambda key: apparent_values(apparent, key, realisations))(jax.random.key(window)))


ensembles = {window: ensemble(window) for window in (3, 6)}
spread = pd.DataFrame(
    {
        "mean": {w: each.mean() for w, each in ensembles.items()},
        "sd": {w: each.std(ddof=1) for w, each in ensembles.items()},
    }
)
assert spread.sd[3] > 1.3 * spread.sd[6]
spread.rename_axis("cells along an edge").round(2)

# %% [markdown]
# ## The tissue, resolved and homogenised
#
# A layer of eight cells with sources in it, walls at both sides: the resolved concentration, the homogenised profile, and
# that with the corrector and the boundary layers. A wall acts as if it were shifted by a length that the cell tells.

# %%
inclusion = jnp.abs((jnp.arange(24) + 0.5) / 24 - 0.4) < 0.25
cell = jnp.where(inclusion[:, None] & inclusion, 0.05, 1.0)
law = wall_law(cell, spacing=(1 / 24, 1 / 24))
source = jnp.ones(8 * 24 + 1)
resolved = resolved_problem(cell, source, cells=8, spacing=(1 / 24, 1 / 24))
plain, shifted = (
    homogenised_profile(law.diffusivity, source, length=8.0, shifts=shifts) for shifts in ((0.0, 0.0), law.shifts)
)
two_scale = corrected_field(shifted, law)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
left.plot(plain.depth, resolved.concentration[:, 9], color="0.7", label="resolved, through inclusions")
left.plot(plain.depth, two_scale.layers[:, 9], "--", color="C0", label="with corrector and layers")
left.plot(plain.depth, plain.concentration, color="C3", label="homogenised")
left.set(xlabel="depth (cells)", ylabel="concentration")
left.legend(frameon=False)
slopes = errors_in_epsilon(cell, lambda x: jnp.ones_like(x), cells=(4, 8, 16))
for name, label in {"profile": "profile", "mean": "cell means", "shifted_mean": "means, wall shifted"}.items():
    right.loglog(slopes.epsilon, getattr(slopes, name), "o-", label=label)
right.set(xlabel="cell / slab", ylabel="relative error", ylim=(None, 1.0))
right.legend(frameon=False, loc="upper left")

# %%
orders = {
    name: float(np.polyfit(np.log(slopes.epsilon), np.log(getattr(slopes, name)), 1)[0])
    for name in ("profile", "mean", "shifted_mean", "corrector", "layers")
}
assert orders["shifted_mean"] > 1.7 > 1.2 > orders["profile"]
pd.Series(orders, name="order in the size of a cell").round(2)

# %% [markdown]
# Where a source is not wider than a cell scales do not separate, and no number is the diffusivity. A function of the wave
# number is: the mean over all positions of the microstructure is then exact.

# %%
kernel = nonlocal_kernel(cell, cells=16, consumption=0.02, spacing=(1 / 24, 1 / 24))
local = kernel._replace(weights=jnp.zeros_like(kernel.weights).at[0].set(law.diffusivity))
place = (jnp.arange(16 * 24) - 8 * 24) / 24
gaps = {}
for width in (0.25, 0.5, 1.0, 2.0):
    around = jnp.exp(-((place / width) ** 2) / 2)
    exact, wrong = (nonlocal_profile(each, around) for each in (kernel, local))
    gaps[width] = float(jnp.max(jnp.abs(wrong - exact)) / jnp.max(exact))
assert gaps[0.25] > 4 * gaps[2.0]
pd.Series(gaps, name="error of the local diffusivity, by width of the source in cells").round(4)

# %% [markdown]
# ## What profiles in the tissue tell of its cells
#
# Concentrations at five depths and four times determine the effective diffusivity and the consumption of the tissue. Those
# are made of four properties of the cells, none of which they determine.

# %%
structure = structural_identifiability(study.model, design=uq.Design([120.0]), level="local")
assert set(structure.verdict.sel(parameter=["phi", "P", "D_ext", "k"]).values) == {"none"}
structure[["verdict", "combination"]].to_dataframe()

# %%
# The tissue's own two numbers are known to a few per cent.
tissue_study = uq.Study("tissue", tumour_tissue.tissue, study.experiments, study.data)
macro, micro = fisher_information(tissue_study), fisher_information(study)
macro[["cramer_rao"]].to_dataframe()

# %%
assert macro.attrs["rank"] == 3 and micro.attrs["rank"] == 3

# %% [markdown]
# ## Where the spread of a prediction comes from
#
# The concentration deep in a new sample, split among what is not known of all tissue, how densely a sample's cells lie, and
# where they lie ("a single run"). In small samples the last matters; in large ones it is gone.

# %%
split = {window: source_indices(samples(window), n=16) for window in (2, 4)}
pd.DataFrame(
    {f"{window} x {window} cells": each["ST"].isel(quantity=0).to_series() for window, each in split.items()}
).round(3)
