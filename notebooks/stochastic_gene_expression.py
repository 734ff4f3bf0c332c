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
# # Genes, molecule by molecule
#
# A promoter switches on and off; while it is on, mRNA is made. One description of these four reactions gives rate equations,
# moments, single cells and whole distributions, and what each of them tells of the promoter.

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import uqbench as uq
from forward_models import telegraph_gene as gene
from uqbench.decomposition import source_indices
from uqbench.expectations import expectation_gradient
from uqbench.identifiability import fisher_information, structural_identifiability
from uqbench.likelihoods import simulate_data

gene.network.stoichiometry

# %% [markdown]
# ## What can be known
#
# From the mean over time none of the rates of the promoter: only $k_{on} + k_{off}$ and $k_{on}\,r$. The variance adds what is
# missing: noise is information.

# %%
pd.DataFrame(
    {
        name: structural_identifiability(model)["verdict"].to_series()
        for name, model in {"rate equations": gene.model, "moments": gene.moments}.items()
    }
)

# %% [markdown]
# ## One cell, many cells, all cells
#
# Four cells are four trajectories, exact to the single molecule; four thousand have the histogram that the master equation
# gives without any of them.

# %%
day = uq.Design(np.linspace(0.0, 24.0, 200))
truth, cells = gene.space.nominal(), 4000
thetas = {name: np.broadcast_to(value, (cells,)) for name, value in truth.items()}
runs = uq.evaluate_many(gene.trajectory, thetas, day, keys=jax.random.split(jax.random.key(0), cells))

distribution = uq.Model(gene.space, gene.network.master_equation(), gene.mean_of_mrna, {"mRNA": ""}, name="snapshots")
end = uq.Design([24.0])
plan = distribution.dynamics.plan(distribution, end)
law = distribution.dynamics.density(distribution, truth, end, plan)[0]["mRNA"]

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
left.plot(day.times, runs.outputs["mRNA"][:4].T, drawstyle="steps-post", linewidth=0.8)
left.set(xlabel="time (h)", ylabel="mRNA", title="four cells")
counts = np.asarray(runs.outputs["mRNA"][:, -1])
right.hist(counts, np.arange(-0.5, counts.max() + 1), density=True, color="0.8", label=f"{cells} cells")
right.plot(law.values, law.probability[-1], color="C3", label="master equation")
right.set(xlabel="mRNA at 24 h", ylabel="probability", title="all cells", xlim=(-1, counts.max() + 1))
right.legend(frameon=False)

# %%
seen = np.bincount(counts.astype(int), minlength=len(law.values))
expected = cells * np.asarray(law.probability[-1])
common = expected > 5
chi2 = float(np.sum((seen - expected)[common] ** 2 / expected[common]))
assert chi2 < common.sum() + 4 * np.sqrt(2 * common.sum())
f"chi-squared {chi2:.0f} for {common.sum()} counts"

# %% [markdown]
# ## Where the spread between cells comes from
#
# A trajectory is a function of its parameters and of one source of randomness for each reaction, so its variance can be
# split among them. The promoter makes most of it; births and deaths of mRNA themselves little.

# %%
sources = source_indices(uq.Study("cell", gene.trajectory, {"day": uq.Design([24.0])}), n=1024)
assert float(sources["ST"].sel(source=["noise of switch on", "noise of switch off"]).min()) > float(
    sources["ST"].sel(source=["noise of transcribe", "noise of lose mRNA"]).max()
)
sources[["S1", "ST"]].isel(quantity=0, drop=True).to_dataframe().round(2)

# %% [markdown]
# And how the mean answers to the parameters, once by coupled trajectories and once exactly: each number says what it is.

# %%
gradients = pd.concat(expectation_gradient(each, truth, uq.Design([24.0])) for each in (gene.trajectory, distribution))
gradients[["parameter", "value", "standard_error", "label"]]

# %% [markdown]
# ## Snapshots as data
#
# Every row is another cell, killed to be counted. Its likelihood is the distribution itself: no noise is to be chosen. Three
# hundred cells at three times know all four rates, if not well.

# %%
times = np.repeat([0.5, 2.0, 24.0], 100)
planned = pd.DataFrame({"experiment": "cells", "output": "mRNA", "time": times, "value": 0.0})
experiments = {"cells": uq.Design()}
data = simulate_data(uq.Study("cells", distribution, experiments, planned), truth, jax.random.key(1))
study = uq.Study("cells", distribution, experiments, data)
information = fisher_information(study)
information[["cramer_rao"]].to_dataframe()

# %%
assert information.attrs["rank"] == 4
