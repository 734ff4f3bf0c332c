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
# # What can be known at all
#
# Before anything is measured, the equations decide which parameters perfect data would determine. The question is asked of
# the very function that is simulated.

# %%
import json

import jax.numpy as jnp

import uqbench as uq
from forward_models import product_rate, two_scale_cascade
from uqbench.identifiability import structural_identifiability, transfer_function

PRIOR = uq.epistemic(uq.LogNormal(0.0, 1.0))

# %% [markdown]
# ## A product
#
# Only $k g$ is ever seen in $y = k g\,x$. The answer says so, and suggests a model that can be calibrated.

# %%
found = structural_identifiability(product_rate.model)
found[["verdict", "reason"]].to_dataframe()

# %%
smaller = product_rate.model.reparametrised(json.loads(found.attrs["suggestion"]))
structural_identifiability(smaller)[["verdict"]].to_dataframe()

# %% [markdown]
# ## A swap
#
# Of two steps in a row the data show both rates, but not which is which: two values each, and the words say what they are.
# The poles of the transfer function come as a set.

# %%
structural_identifiability(two_scale_cascade.model)[["verdict", "reason"]].to_dataframe()

# %%
transfer_function(two_scale_cascade.model)["y", "impulse"]


# %% [markdown]
# ## An enzyme, with and without its substrate
#
# $E + S \rightleftharpoons C \rightarrow E + P$ from the product alone, then with the substrate seen as well. The amount of
# enzyme is not known. Asked from anywhere (`initial="unknown"`), the initial states are unknowns like the parameters.


# %%
def rhs(t, y, p, inputs):
    bound = p["on"] * (p["total"] - y["C"]) * y["S"]
    return {"S": -bound + p["off"] * y["C"], "C": bound - (p["off"] + p["cat"]) * y["C"], "P": p["cat"] * y["C"]}


def initial(p, inputs):
    return {"S": jnp.ones(()), "C": jnp.zeros(()), "P": jnp.zeros(())}


def product_only(y, p):
    return {"product": p["scale"] * y["P"]}


def both(y, p):
    return {"product": p["scale"] * y["P"], "substrate": y["S"]}


space = uq.Space(dict.fromkeys(("on", "off", "cat", "total", "scale"), PRIOR))
without = uq.Model(space, uq.Ode(initial, rhs), product_only, {"product": ""})
seen = uq.Model(space, uq.Ode(initial, rhs), both, {"product": "", "substrate": ""})
answers = {name: structural_identifiability(model, initial="unknown") for name, model in
           {"product only": without, "substrate too": seen}.items()}  # fmt: skip
{name: answer.verdict.to_series().to_dict() for name, answer in answers.items()}

# %% [markdown]
# What is lost without the substrate is a scale; these are all functions that can still be known:

# %%
answers["product only"].expression.values.tolist()
