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
# # Theophylline in twelve subjects
#
# Twelve people swallowed theophylline, and its concentration in their blood was followed for a day (Boeckmann, Sheiner &
# Beal 1994). What will the next person's exposure be, how sure can we be, and what would make us surer?
#
# The answer takes four verbs: `identify`, `calibrate`, `decompose`, `report`.

# %%
import jax.numpy as jnp
import numpy as np

import uqbench as uq
from studies.theophylline import study

# %matplotlib inline
study.data.head()

# %% [markdown]
# ## The model
#
# A dose enters the gut, is absorbed at rate `ka` into a volume `V` and leaves it with clearance `CL`. Each subject has
# values of its own (*aleatory*), spread around values of the population that nobody knows (*epistemic*). Both are entries
# of one mapping: the distribution of `ka` simply names `ka_median` and `ka_sd`.

# %%
study.model.space

# %%
print(uq.check_model(study.model, study.experiments["subject_1"]))

# %% [markdown]
# The check above ran the model, compared its gradients with finite differences and the equations that uqbench reads from
# the code with its numbers. These are the equations:

# %%
from uqbench.symbols import read

read(study.model, study.experiments["subject_1"]).equations()

# %% [markdown]
# ## Can the parameters be known at all?
#
# `identify` asks first of the equations alone: from perfect concentrations of one subject, are `ka`, `CL` and `V` determined?
# Locally, yes. (Globally there is a twin solution, the flip-flop, with the roles of absorption and elimination
# exchanged; the priors hold it off.) Then it asks how well these 132 measurements could tell the population's values.
# (`starts=0` leaves out the best fit and the profiles, which the notebook `practical_identifiability` is about.)

# %%
tree = uq.identify(study, starts=0)
tree["structure"].to_dataset()[["verdict", "reason"]].to_dataframe()

# %%
fisher = tree["fisher"].to_dataset()
print(f"rank {fisher.attrs['rank']} of {fisher.sizes['parameter']}")
fisher[["value", "cramer_rao"]].to_dataframe().round(3)

# %% [markdown]
# `cramer_rao` is the smallest standard error of the logarithm that an unbiased estimate could have: about 20 % for the
# absorption rate, under 10 % for clearance. With twelve subjects it cannot be less than the spread between subjects over
# the square root of twelve.
#
# ## Calibration

# %%
tree = uq.calibrate(study, tree)
tree["convergence"].to_dataset().to_dataframe()

# %% [markdown]
# Nothing is hidden: how many points were rejected, and why, stands with the draws.

# %%
{key: value for key, value in tree["posterior"].attrs.items() if key.startswith(("divergences", "failed"))}

# %% [markdown]
# Others have fitted the same table with the same structure by maximum likelihood (Pinheiro & Bates 2000): log ka about .45,
# log ke about -2.43, log CL about -3.2, residual about .7 mg/L.

# %%
draws = tree["posterior"].to_dataset()
for name, values in {
    "log ka": np.log(draws.ka_median),
    "log ke": np.log(draws.CL_median / draws.V_median),
    "log CL": np.log(draws.CL_median),
    "residual": draws.sigma,
}.items():
    print(f"{name:9s} {float(values.mean()):6.2f} +- {float(values.std()):.2f}")

# %%
from uqbench.reporting import figures

figures.predictive_band(tree, "concentration")

# %% [markdown]
# ## Where does the spread of a prediction come from?
#
# Exposure (AUC) and peak of a *new* subject vary for two reasons: subjects differ, and we do not know the population
# exactly. Only the second shrinks with more subjects.

# %%
tree = uq.decompose(study, tree)
figures.variance_stack(tree)

# %%
shares = tree["variance"].to_dataset()
for quantity in shares.quantity.values:
    part = shares.sel(quantity=quantity)
    print(f"{quantity}: {float(part.aleatory_share):.0%} between subjects "
          f"({float(part.aleatory_share_lower):.0%} to {float(part.aleatory_share_upper):.0%})")  # fmt: skip

# %% [markdown]
# Which of a subject's own parameters matters? The posterior enters the Sobol indices as a single input, `epistemic`, because
# its draws depend on one another. Clearance decides the exposure; volume and absorption decide the peak.

# %%
figures.sobol_bars(tree)

# %% [markdown]
# As a check, exposure until infinity is dose / CL, so its spread between subjects is nearly that of clearance:

# %%
auc = np.sqrt(float(shares.total.sel(quantity="AUC"))) / float(shares["mean"].sel(quantity="AUC"))
print(
    f"relative spread of AUC {auc:.2f}, of clearance {float(jnp.sqrt(jnp.expm1(float(draws.CL_sd.mean()) ** 2))):.2f}"
)

# %% [markdown]
# ## What to do next
#
# Measuring more subjects makes the population better known, but nine tenths of the uncertainty about the next patient would
# remain. To dose *this* patient better, take one blood sample from them: that is a study of its own.
#
# `uq.report(study, tree)` writes all of this on one page, `uq.save(tree, "results/theophylline.zarr")` keeps the numbers.
