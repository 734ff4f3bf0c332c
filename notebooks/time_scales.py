# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # Fast and slow
#
# A receptor binds within milliseconds, the gene behind it answers within hours. Is that a difficulty for the solver, may
# the fast part be left out, what does the data then still say of it, and what remains where it may not be left out?

# %%
import json
from dataclasses import replace

import jax
import numpy as np
import pandas as pd

import uqbench as uq
from forward_models import bistable_switch, memory_kernel, michaelis_menten, receptor_tf, relaxation_oscillator
from studies import puromycin, puromycin_mechanism
from uqbench.reporting import figures

# %matplotlib inline

# %% [markdown]
# ## Is my model stiff, and why?
#
# A receptor $x$ that settles a thousand times faster than the transcription factor $y$ it drives. An explicit method takes
# some forty times as many steps as the solution needs, for the sake of the receptor alone; the report names the terms.

# %%
from uqbench.numerics.stiffness import stiffness_report

theta = receptor_tf.space.nominal() | {"eps": 1e-3}
report = stiffness_report(receptor_tf.model.system, theta, uq.Design([5.0]), space=receptor_tf.space)
print(report.attrs["verdict"])
report[["steps_for_stability", "steps_for_accuracy", "evaluations"]].to_dataframe().round()

# %% [markdown]
# A stiff spring is something else. If it swings, every method has to follow it, so it is not numerically stiff; a fast
# chemical rate with the same $|\lambda|$ = 1000/s that has long settled is, with nothing material about it.


# %%
def swinging(t, y, p, inputs):
    return {"x": y["v"], "v": -p["k"] * y["x"]}


def decaying(t, y, p, inputs):
    return {"x": t - p["rate"] * y["x"]}


spring = uq.Ode(lambda p, inputs: {"x": 0.01, "v": 0.0}, swinging), uq.Space(k=uq.fixed(1e6, "N/m"))
chemistry = uq.Ode(lambda p, inputs: {"x": 0.01}, decaying), uq.Space(rate=uq.fixed(1e3, "1/s"))
verdicts = [stiffness_report(system, {}, uq.Design([2.0]), space=space).attrs for system, space in (spring, chemistry)]
pd.DataFrame(verdicts, index=["spring", "chemical rate"])[["numerical_stiffness", "physical_stiffness", "cause"]]

# %% [markdown]
# The library's solver needs no settings for either, so stiffness is no reason to change a model. It is a hint that the model
# may be made smaller.
#
# ## Leaving the fast states out
#
# Name them, and they are put where they come to rest. Of an enzyme, $S + E \rightleftharpoons C \rightarrow P + E$ with $C$ at
# rest, what is left is read from the same function:

# %%
from uqbench.symbols import read

reduced = michaelis_menten.model.reduced(["C"])
design = uq.Design.linspace(2.0, 20.0, 10, inputs={"S0": 5.0})
read(reduced, design).equations()[0].rhs.factor()

# %% [markdown]
# This is the velocity of Michaelis and Menten (the standard quasi-steady state). Is it right? `separation` follows the
# full system and looks. Strong: one place to rest, reached before the slow states move. Absent: the fast are not fast. Weak:
# several places to rest, or none.

# %%
from uqbench.numerics.slow_fast import reduction_error, separation

enzyme = michaelis_menten.space.nominal() | {"kon": 1.0, "koff": 1.0, "kcat": 1.0}
little, much = enzyme | {"E0": 0.1}, enzyme | {"E0": 10.0}
standard, total = michaelis_menten.model.system, michaelis_menten.total_mechanism.system
oscillator = relaxation_oscillator.space.nominal() | {"eps": 1e-3}
cases = {
    "little enzyme, standard": separation(standard, ["C"], little, design),
    "much enzyme, standard": separation(standard, ["C"], much, design),
    "much enzyme, total": separation(total, ["C"], much, design),
    "relaxation oscillator": separation(relaxation_oscillator.system, ["x"], oscillator, uq.Design([3.0])),
}
pd.DataFrame({name: found.attrs for name, found in cases.items()}).T[["verdict", "epsilon", "layer", "error"]]

# %% [markdown]
# With 10 uM of enzyme the reduced substrate is wrong by 40 % of its largest value. What binding takes away is not small
# then; with the total $T = S + C$ for the slow state (the total quasi-steady state) binding changes nothing slow, and 4 % are
# left. `validity` knows this without a run, by the numbers of Segel & Slemrod and of Borghans, de Boer & Segel:

# %%
validity = {f"{name} enzyme": michaelis_menten.validity(at, 5.0) for name, at in (("little", little), ("much", much))}
pd.DataFrame(validity).T.astype(float).round(4)

# %% [markdown]
# The oscillator is a thousand times faster than it is slow, and still cannot be reduced. Between its folds $|y| < 2/3$ there
# are two places to rest, and which one it is in depends on where it has been:

# %%
weak = cases["relaxation oscillator"]
between_folds = np.abs(weak.slow_state.sel(slow="y").values) < 2 / 3
assert np.all(weak.stable_equilibria.values == np.where(between_folds, 2, 1))
print(weak.attrs["warning"])

# %% [markdown]
# Every verb that is given a study on a reduced model asks this first, and keeps the answer in the tree.
#
# Where the separation is strong, the error is of first order: were the fast states four times faster, it would be a quarter.
# A slope of 1 says that the fast states were the right ones.

# %%
shrinking = reduction_error(standard, ["C"], little, design)
assert np.all(np.abs(shrinking.slope - 1) < 0.01)
print("slope of S and P:", shrinking.slope.values.round(4), "+-", shrinking.slope_standard_error.values.round(4))
shrinking.error.to_pandas()[:4]

# %% [markdown]
# ## What real data say
#
# Velocities of an enzyme in cells treated with puromycin (Treloar 1974). Published least squares find Vm = 212.7 and
# Km = .0641 (Bates & Watts 1988).

# %%
tree = uq.calibrate(puromycin.study, draws=800, tune=400, seed=1)
draws = tree["posterior"].to_dataset()
for name, published in {"Vm": 212.7, "Km": 0.0641}.items():
    mean, spread = float(draws[name].mean()), float(draws[name].std())
    assert abs(mean - published) < spread and bool(tree["convergence"]["resolved"].sel(parameter=name))
    print(f"{name} {mean:.4g} +- {spread:.2g}, published {published}")
figures.predictive_band(tree, "v")

# %% [markdown]
# And the four numbers of the mechanism behind: binding, release, conversion, amount of enzyme? No velocity at rest tells
# any of them, however precise. Two combinations are known, the Vm and Km from above.

# %%
known = uq.identify(puromycin_mechanism.study)["structure"].to_dataset()
assert np.all(known.verdict.sel(parameter=["kon", "koff", "kcat", "E0"]) == "none")
print(known.expression.values.tolist())
known[["verdict", "reason"]].to_dataframe()

# %% [markdown]
# `suggestion` is a model in what can be known. A product of rates inherits their priors; a sum needs one of its own.

# %%
suggestion = json.loads(known.attrs["suggestion"])
prior = uq.epistemic(uq.LogNormal(median=0.1, sigma=1.0), "ppm")
knowable = puromycin_mechanism.study.model.reparametrised(suggestion, priors={"kcat_koff_over_kon": prior})
smaller = uq.identify(replace(puromycin_mechanism.study, model=knowable))["structure"].to_dataset()
assert np.all(smaller.verdict == "global")
print(suggestion)

# %% [markdown]
# ## More than one place to be
#
# A gene feeds its own production. Where there are two places to rest, follow the *branch* of equilibria instead of running
# into one of them: it turns back at a *fold*, where the gene has to jump.

# %%
from uqbench.numerics.continuation import equilibrium_branch, fold, hysteresis

gene, start = bistable_switch.system, {"a": 0.0, "x0": 0.0}
at = bistable_switch.space.nominal() | {"b": 1.8}
branch = equilibrium_branch(gene, at, start, parameter="a", between=(0.0, 0.2))
folds = branch.isel(point=np.flatnonzero(branch.kind == "fold"))
loop = hysteresis(gene, at, start, parameter="a", values=np.linspace(0.0, 0.2, 21))
folds[["a", "x"]].to_dataframe().round(4)

# %% [markdown]
# A stimulus that rises slowly switches the gene on at .104; one that falls switches it off only at .044. The slow sweep (dots)
# finds the same, to within its steps.


# %%
@figures.styled
def switching():
    figure = figures.Figure(figsize=(5.0, 2.9), layout="constrained")
    axis = figure.subplots()
    stable = branch.largest_real_part < 0
    for chosen, line in ((stable, "-"), (~stable, ":")):
        label = "stable" if line == "-" else "unstable"
        axis.plot(branch.a, branch.x.where(chosen | (branch.kind == "fold")), line, color=figures.PALETTE["accent"], label=label)
    for direction, fill in (("up", "ink"), ("down", "paper")):
        x = loop.x.sel(direction=direction)
        axis.plot(loop.value, x, "o", color=figures.PALETTE[fill], markeredgecolor=figures.PALETTE["ink"], markersize=3.5, label=direction)
    axis.plot(folds.a, folds.x, "D", color=figures.PALETTE["accent"], label="fold")
    axis.set(xlabel="stimulus a", ylabel="x at rest")
    axis.legend()
    return figure


switching()

# %% [markdown]
# The place of a fold has a derivative, though a jump has none: by the strength $b$ of the feedback it is $-x^2/(1+x^2)$, here
# -.109, and a gene with a higher basal rate needs just that much less of a stimulus. So folds can be calibrated, and their
# variance decomposed (`studies.bistable_switch`).


# %%
def switches_on(theta):
    return fold(gene, theta, start, parameter="a", guess={"x": 0.35}).parameter


slope, x = jax.grad(switches_on)(at), float(folds.x[0])
assert np.isclose(slope["b"], -(x**2) / (1 + x**2)) and np.isclose(slope["basal"], -1.0)
print(f"a = {switches_on(at):.6f}, da/db = {slope['b']:.6f}")
print(loop[["jump_direction", "jump_lower", "jump_upper"]].to_dataframe())

# %% [markdown]
# ## Memory
#
# Fast is a matter of degree. If two fast partners of $y$ oscillate, and no faster than twice the rest, what they leave behind in
# the equation of $y$ is its past: $y' = Ay + \int_0^t K(s)\,y(t-s)\,ds$.

# %%
from uqbench.numerics.memory import compare, embedding
from uqbench.numerics.memory import memory_kernel as kernel_of

kernel = kernel_of(memory_kernel.model.system, ["x1", "x2"], memory_kernel.space.nominal(), {"dose": 1.0})
print(f"remembers for {float(kernel.memory_time):.3g} h, rates {kernel.modes.rates.round(3)} per h")
print("states that carry it exactly:", *embedding(kernel).initial({}, {}))

# %%
after = compare(kernel, uq.Design.linspace(0.5, 6.0, 56))
lost = np.abs(after.error).max(("time", "state"))
assert lost.sel(reduction="embedded") < 1e-12
pd.DataFrame({"largest error, nM": lost.to_series(), "slope": after.slope.to_series()})

# %% [markdown]
# Two auxiliary states reproduce the full system to rounding. Forgetting costs .14 nM of a dose of 1 nM, an error that falls in
# proportion to the ratio of time scales (slope 1); correcting for the delay to first order, a fifth of that (slope 2).


# %%
@figures.styled
def forgetting():
    figure = figures.Figure(figsize=(figures.WIDTH, 2.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    lags = np.linspace(0.0, 4.0, 200)
    left.axhline(0.0, color=figures.PALETTE["line"], linewidth=0.8)
    left.plot(lags, kernel.kernel(lags)[:, 0, 0], color=figures.PALETTE["accent"])
    left.set(xlabel="lag s [h]", ylabel="memory kernel K [1/h²]")
    right.plot(after.time, after.full[:, 0], color=figures.PALETTE["middle"], linewidth=5, label="full")
    for name, line in (("embedded", "-"), ("first order", "--"), ("memoryless", ":")):
        right.plot(after.time, after.y.sel(reduction=name)[:, 0], line, color=figures.PALETTE["ink"], label=name)
    right.set(xlabel="time [h]", ylabel="y [nM]", ylim=(0, None))
    right.legend()
    return figure


forgetting()

# %% [markdown]
# It costs knowledge too. From the model with memory every rate can be known ($w$ up to its sign); from the memoryless one a
# single number, in which all five are.

# %%
from uqbench.identifiability import structural_identifiability

models = {"full": memory_kernel.model, "memoryless": memory_kernel.memoryless}
{name: structural_identifiability(model).expression.values.tolist() for name, model in models.items()}
