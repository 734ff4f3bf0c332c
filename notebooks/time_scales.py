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
# # Fast and slow
#
# A receptor binds at once, the gene behind it answers later. Does that make the model hard to solve? May the fast part be
# left out? What do data then still say of it, and what is to be done where it may not be left out?

# %%
import json

import jax
import numpy as np
import pandas as pd

import uqbench as uq
from forward_models import bistable_switch, memory_kernel, michaelis_menten, receptor_tf, relaxation_oscillator
from studies import puromycin, puromycin_mechanism
from uqbench.reporting import figures

# %matplotlib inline
receptor_tf.space

# %% [markdown]
# ## Is my model stiff, and why?
#
# The receptor settles a thousand times faster than the transcription factor that it drives. Only for its sake an explicit
# method takes nearly fifty times the steps that the solution needs. The report names the terms that are behind it.

# %%
from uqbench.time_scales.stiffness import stiffness_report

theta = receptor_tf.space.nominal() | {"eps": 1e-3}
report = stiffness_report(receptor_tf.model.system, theta, uq.Design([5.0]), space=receptor_tf.space)
print(report.attrs["verdict"])
report[["steps_for_stability", "steps_for_accuracy", "evaluations"]].to_dataframe().round()

# %% [markdown]
# A stiff *spring* is another matter: while it swings every method has to follow it, so it is physically stiff, and not
# numerically. A chemical rate just as fast is the other way round once it has settled (units tell the report which is which).
#
# ## Leaving the fast states out
#
# Name them, and they are put where they come to rest. Of an enzyme, $E + S \rightleftharpoons C \rightarrow E + P$ with $C$
# at rest, this is left of $S'$, read from the very function that is simulated: the law of Michaelis and Menten.

# %%
from uqbench.symbols import read

reduced = michaelis_menten.model.reduced(["C"])
design = uq.Design.linspace(2.0, 20.0, 10, inputs={"S0": 5.0})
read(reduced, design).equations()[0].rhs.factor()

# %% [markdown]
# May it be used? `separation` goes where the full system goes, and looks. *Strong*: one place to rest, reached before the
# slow states move. *Absent*: the fast states are not fast. *Weak*: several places to rest, or none.

# %%
from uqbench.time_scales.slow_fast import reduction_error, separation

little = michaelis_menten.space.nominal() | {"E0": 0.1}
much = little | {"E0": 10.0}
substrate, totals = michaelis_menten.model.system, michaelis_menten.total_mechanism.system
jumping = relaxation_oscillator.space.nominal() | {"eps": 1e-3}
cases = {
    "little enzyme, standard": separation(substrate, ["C"], little, design),
    "much enzyme, standard": separation(substrate, ["C"], much, design),
    "much enzyme, total": separation(totals, ["C"], much, design),
    "relaxation oscillator": separation(relaxation_oscillator.system, ["x"], jumping, uq.Design([3.0])),
}
pd.DataFrame([found.attrs for found in cases.values()], index=cases)[["verdict", "epsilon", "layer", "error"]]

# %% [markdown]
# With 10 uM of enzyme to 5 uM of substrate the standard reduction errs by 40 %: binding alone takes up much of it.
# It does not change the total $T = S + C$; with that as the slow state 4 % are left. Numbers that must be small say so
# without a run (Segel & Slemrod 1989; Borghans, de Boer & Segel 1996):

# %%
validity = michaelis_menten.validity
pd.DataFrame({"little": validity(little, 5.0), "much": validity(much, 5.0)}, dtype=float)

# %% [markdown]
# The oscillator is fast enough, and still cannot be reduced. Between its folds, $|y| < 2/3$, there are two places to rest, and
# at which it is depends on the past. The warning says where it begins. Every verb issues it for a study on such a model.

# %%
weak = cases["relaxation oscillator"]
between = np.abs(weak.slow_state.sel(slow="y")) < 2 / 3
assert np.all(weak.stable_equilibria == np.where(between, 2, 1))
print(weak.attrs["warning"])

# %% [markdown]
# Where the separation is strong, the error is of first order: four times faster, a quarter of the error. The slope of 1 also
# says that the right states were named.

# %%
shrinking = reduction_error(substrate, ["C"], little, design)
assert np.all(np.abs(shrinking.slope - 1) < 0.01)
print("slopes", shrinking.slope.round(4).to_series().to_dict())
shrinking.error[:4].to_pandas()

# %% [markdown]
# ## What real data say
#
# Velocities (count/min²) over substrate (ppm) of an enzyme in cells treated with puromycin (Treloar 1974). Least squares
# give Vm = 212.7, Km = .0641 (Bates & Watts 1988).

# %%
tree = uq.calibrate(puromycin.study, draws=800, tune=400, seed=1)
assert np.all(tree["convergence"]["resolved"])
for name, published in {"Vm": 212.7, "Km": 0.0641}.items():
    mean, spread = (float(value) for value in (tree["posterior"][name].mean(), tree["posterior"][name].std()))
    assert abs(mean - published) < spread
    print(f"{name} {mean:.3g} +- {spread:.1g}, published {published}")
figures.predictive_band(tree, "v")

# %% [markdown]
# And the mechanism behind them? Whatever the precision, none of its four numbers can be known from velocities, two
# combinations can: just Vm and Km. `suggestion` makes a model of them; a sum of rates needs a prior of its own.

# %%
known = uq.identify(puromycin_mechanism.study, starts=0)["structure"].to_dataset()
assert np.all(known.verdict.sel(parameter=["kon", "koff", "kcat", "E0"]) == "none")
suggestion = json.loads(known.attrs["suggestion"])
prior = uq.epistemic(uq.LogNormal(median=0.1, sigma=1.0), "ppm")
print(suggestion)
print(puromycin_mechanism.study.model.reparametrised(suggestion, priors={"kcat_koff_over_kon": prior}).space)
known[["verdict", "reason"]].to_dataframe()

# %% [markdown]
# ## More than one place to be
#
# A gene that feeds its own production. Its equilibria are one curve, which turns back at two folds: there the gene jumps. A
# stimulus that rises slowly switches it on at .104; falling, it switches it off only at .044.

# %%
from uqbench.dynamics.continuation import equilibrium_branch, fold, hysteresis

gene, inputs = bistable_switch.system, {"a": 0.0, "x0": 0.0}
feedback = bistable_switch.space.nominal() | {"b": 1.8}
branch = equilibrium_branch(gene, feedback, inputs, parameter="a", between=(0.0, 0.2))
folds = branch[["a", "x"]].isel(point=np.flatnonzero(branch.kind == "fold"))
sweep = hysteresis(gene, feedback, inputs, parameter="a", values=np.linspace(0.0, 0.2, 26))
assert np.all((sweep.jump_lower < folds.a.values) & (folds.a.values < sweep.jump_upper))
folds.to_dataframe().round(3)


# %%
@figures.styled
def switching(colour=figures.PALETTE):
    figure = figures.Figure(figsize=(5.5, 3.0), layout="constrained")
    axis = figure.subplots()
    unstable = branch.largest_real_part > 0
    axis.plot(branch.a, branch.x.where(~unstable), color=colour["accent"], label="stable")
    axis.plot(branch.a, branch.x.where(unstable), ":", color=colour["accent"], label="unstable")
    axis.plot(sweep.value, sweep.x.sel(direction="up"), ".", color=colour["ink"], label="rising")
    axis.plot(sweep.value, sweep.x.sel(direction="down"), "o", color=colour["muted"], mfc="none", label="falling")
    axis.plot(folds.a, folds.x, "D", color=colour["accent"], label="fold")
    axis.set(xlabel="stimulus a", ylabel="x at rest")
    axis.legend()
    return figure


switching()

# %% [markdown]
# A jump has no derivative, the place of the fold has one: $-x^2/(1+x^2)$ by the feedback $b$, -.109 here. So its
# uncertainty can be decomposed like that of any output (`studies.bistable_switch`).


# %%
def switched_on(theta):
    return fold(gene, theta, inputs, parameter="a", guess={"x": 0.35}).parameter


place, slope = jax.value_and_grad(switched_on)(feedback)
assert np.isclose(slope["b"], -(folds.x[0] ** 2) / (1 + folds.x[0] ** 2))
print(f"a = {place:.4f}, da/db = {slope['b']:.4f}")

# %% [markdown]
# ## Memory
#
# Two partners of $y$ that are only twice as fast, and oscillate. In the equation of $y$ alone they are a memory of its past,
# $y'(t) = A\,y(t) + \int_0^t K(s)\,y(t-s)\,ds$; a few auxiliary states carry it exactly (an embedding).

# %%
from uqbench.time_scales import memory

rates = memory_kernel.space.nominal()
kernel = memory.memory_kernel(memory_kernel.model.system, ["x1", "x2"], rates, {"dose": 1.0})
compared = memory.compare(kernel, uq.Design.linspace(0.5, 6.0, 56))
print(f"eps {rates['eps']}, remembers for {kernel.memory_time:.2f} h, rates {kernel.modes.rates.round(2)} per h")
print("states of the embedding:", *memory.embedding(kernel).initial({}, {}))
largest = np.abs(compared.error).max(("time", "state"))
pd.DataFrame({"largest error": largest, "slope": compared.slope}, compared.reduction)

# %% [markdown]
# The embedding errs by rounding. Forgetting costs up to .15 nM of a dose of 1 nM half an hour after it or later, in
# proportion to eps (slope 1); with the delay corrected to first order .06 nM (slope 2).


# %%
@figures.styled
def forgetting(colour=figures.PALETTE):
    figure = figures.Figure(figsize=(figures.WIDTH, 2.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    lags = np.linspace(0.0, 4.0, 200)
    left.axhline(0.0, color=colour["line"], linewidth=0.8)
    left.plot(lags, kernel.kernel(lags)[:, 0, 0], color=colour["accent"])
    left.set(xlabel="lag s [h]", ylabel="kernel K [1/h²]")
    right.plot(compared.time, compared.full[:, 0], color=colour["middle"], linewidth=5, label="full")
    for name, line in (("embedded", "-"), ("first order", "--"), ("memoryless", ":")):
        right.plot(compared.time, compared.y.sel(reduction=name)[:, 0], line, color=colour["ink"], label=name)
    right.set(xlabel="time [h]", ylabel="y [nM]", ylim=(0, None))
    right.legend()
    return figure


forgetting()

# %% [markdown]
# Forgetting costs knowledge too. With memory every rate can be known ($w$ up to its sign), without it one number:

# %%
from uqbench.identifiability import structural_identifiability

models = {"full": memory_kernel.model, "memoryless": memory_kernel.memoryless}
{name: structural_identifiability(model).expression.values.tolist() for name, model in models.items()}
