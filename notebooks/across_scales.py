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
# # Across scales
#
# Genes in single cells, a tissue that the cells secrete into, and a vessel that the tissue drains into: three parts with
# methods of their own that exchange molecules of one ligand. Is it conserved, which schedule of the parts is good enough,
# what does blood tell of the cells, and from which scale does the spread come?

# %%
import warnings
from dataclasses import replace

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import uqbench as uq
from forward_models import tissue_signalling as signalling
from studies.tissue_signalling import times
from uqbench.balance import ROUNDING
from uqbench.coupling import Aitken, QuasiNewton, Strong, Weak, spurious_flux, stability
from uqbench.decomposition import source_indices, total_variance

# %% [markdown]
# ## One run
#
# A dose comes with the blood for 30 min, crosses the wall and binds to receptors of eight cells. Genes of these switch on,
# messenger is made molecule by molecule, and its protein is the ligand again. The vessel runs along the lower edge.


# %%
def everything(y, p):
    """Fields and cells as they are, the balance of each part, and the mean concentration in the tissue."""
    balance = {name: y[name] for name in RESIDUALS}
    return balance | {"c": y["c"], "v": y["v"], "m": y["m"], "c_mean": jnp.mean(y["c"])}


RESIDUALS = ("residual_cells_ligand", "residual_tissue_ligand", "residual_vessel_ligand", "residual_ligand")
UNITS = dict.fromkeys((*RESIDUALS, "m"), "") | dict.fromkeys(("c", "v", "c_mean"), "1/um^3")
DIMS = {"c": ("time", "across", "along"), "v": ("time", "along"), "m": ("time", "cell")}


# resolved to some percent, as the table of schedules below says; runs are not made twice to be sure of it
WINDOWS = Weak(0.5)


def of_cells(count):
    """Genes that jump, all of them together as strong as eight cells: each has its share of receptors and of protein."""
    share = 8 / count
    space = {name: signalling.coarse_space[name] for name in signalling.coarse_space}
    for name in ("R", "k_tl"):
        space[name] = uq.fixed(share * space[name].dist, space[name].unit)
    space["b_half"] = uq.epistemic(uq.LogNormal(median=1000.0 * share, sigma=0.3), "")
    system = signalling.coupled(signalling.Tissue(12, count), WINDOWS, tolerance=None)
    return uq.Model(uq.Space(space), system, everything, UNITS, dims=DIMS, time_unit="min", gradient="none")


tissue = signalling.Tissue(12, 8)
jumping, hours = of_cells(8), uq.Design(np.arange(2.0, 122.0, 2.0))
nominal = {name: float(value) for name, value in jumping.space.nominal().items()}


def runs_of(model, draws, replicates, seed):
    """Parameters from the prior, each with so many runs `(draws, replicates)`; the first is that of the medians."""
    keys = jax.random.split(jax.random.key(seed), draws * replicates)
    drawn = model.space.sample(jax.random.key(seed + 1), (draws,))
    drawn = {name: np.asarray(drawn[name]).copy() for name in model.space.free}
    for name, value in model.space.nominal().items():
        if name in drawn:
            drawn[name][0] = value
    found = uq.evaluate_many(model, {k: np.repeat(v, replicates) for k, v in drawn.items()}, hours, keys)
    assert not np.any(found.result)
    return {
        name: np.asarray(value).reshape(draws, replicates, *value.shape[1:]) for name, value in found.outputs.items()
    }


ensemble = runs_of(jumping, 64, 4, seed=0)
one = {name: value[0, 0] for name, value in ensemble.items()}

# %%
shown = (10.0, 30.0, 40.0, 80.0)
figure, axes = plt.subplots(1, 4, figsize=(11, 3), layout="constrained")
side = tissue.extent[0]
for axis, time in zip(axes, shown, strict=True):
    at = int(np.searchsorted(hours.times, time))
    field = axis.imshow(one["c"][at], origin="lower", extent=(0, side, 0, side), cmap="cividis")
    axis.plot(tissue.places[:, 1], tissue.places[:, 0], "o", color="C3", markersize=4, clip_on=False)
    axis.plot([0, side], [0, 0], color="C0", linewidth=5, clip_on=False)
    axis.set(title=f"{time:.0f} min", xlabel="along the vessel (µm)", xticks=[0, 120, 240], yticks=[0, 120, 240])
    figure.colorbar(field, ax=axis, shrink=0.7, label="c (1/µm³)" if axis is axes[-1] else None)
axes[0].set(ylabel="from the vessel (µm)")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
left.plot(hours.times, one["m"][:, :4], drawstyle="steps-mid", linewidth=0.9)
left.set(xlabel="time (min)", ylabel="messenger of a cell", title="four cells of one run")
right.plot(hours.times, ensemble["c_mean"][0].T, color="0.6", linewidth=0.9, label="tissue, mean")
right.plot(hours.times, one["v"][:, -1], color="C0", label="blood that leaves")
right.set(xlabel="time (min)", ylabel="concentration (1/µm³)", title="four runs, and blood of one")
handles, labels = right.get_legend_handles_labels()
right.legend(handles[-2:], labels[-2:], frameon=False)

# %% [markdown]
# ## Is anything lost?
#
# Every run says by how much each part has changed beyond what it was given. That is rounding here, whatever jumps. Then the
# vessel loses, without saying so, a share of what crosses its wall: the residual of the vessel, and of all, shows it.


# %%
class Leaking(signalling.Tissue):
    """A vessel that loses a share `loss` of what crosses its wall, and declares nothing."""

    def flowing(self, t, y, p, inputs):
        lost = p["loss"] * jnp.abs(signalling.through_wall(t, y, p, inputs))
        volume = signalling.EDGE * signalling.BORE * signalling.THICK
        return {"v": super().flowing(t, y, p, inputs)["v"] - lost / volume}


def measured(y, p):
    wall = jnp.sum(signalling.through_wall(0.0, y | {"c_wall": y["c"][0]}, p, {}))
    amounts = {name: y[name] for name in (*RESIDUALS, "content_vessel_ligand", "supplied_vessel_ligand")}
    return amounts | {"crossed": y["crossed_wall"], "v_out": y["v"][-1], "wall": wall}


MEASURED = dict.fromkeys(
    (*RESIDUALS, "content_vessel_ligand", "supplied_vessel_ligand", "crossed"), ""
) | {"v_out": "1/um^3", "wall": "1/min"}  # fmt: skip


def leaking(schedule=WINDOWS):
    """The mean of all genes, which has derivatives."""
    whole = signalling.coupled(Leaking(12, 8, chance="mean"), schedule)
    vessel = replace(whole.parts["vessel"], reads=("c_wall",))
    system = uq.Coupled({**whole.parts, "vessel": vessel}, whole.exchanges, schedule, "min", None)
    space = uq.Space({**signalling.coarse_space, "loss": uq.fixed(0.0)})
    return uq.Model(space, system, measured, MEASURED, time_unit="min")


smooth, fine = leaking(), uq.Design(np.arange(0.5, 120.5, 0.5))
fitted = [name for name in smooth.space.free if name != "cv"]
medians = np.log([float(smooth.space.nominal()[name]) for name in fitted])


@jax.jit
def run(logs, loss):
    """Outputs, and of v_out also the derivatives by logarithms of parameters."""

    def outputs(logs):
        theta = dict(zip(fitted, jnp.exp(logs), strict=True)) | {"cv": 0.05, "loss": loss}
        found = uq.evaluate(smooth, theta, fine, mode="forward").outputs
        return found["v_out"], found

    slopes, found = jax.jacfwd(outputs, has_aux=True)(logs)
    return found, slopes


LOSS = 0.2
sound, leaky = (run(medians, loss)[0] for loss in (0.0, LOSS))
largest = {name: [float(np.abs(of[name]).max()) for of in (one, sound, leaky)] for name in RESIDUALS}
scale = float(np.abs(sound["supplied_vessel_ligand"]).max())
table = pd.DataFrame(largest, index=["genes that jump", "mean of genes", "leak"]).T / scale
assert (table.iloc[:, :2] < ROUNDING).all(axis=None)
assert table.loc["residual_vessel_ligand", "leak"] > 1e-3 > ROUNDING > table.loc["residual_tissue_ligand", "leak"]
table.map("{:.1e}".format)

# %% [markdown]
# Who has no equations, only measurements of the vessel, has to ask whether content and fluxes agree within their errors.
# Five hundred experiments with noise, with the leak and without: how often is one found, and what share?

# %%
rng, repetitions = np.random.default_rng(0), 500


def detected(of):
    """Of the content of the vessel, and of the rates at which ligand comes and goes, each with 2 % of noise."""
    content = np.asarray(of["content_vessel_ligand"])
    v_in = signalling.entering(fine.times, nominal)
    rate = nominal["u"] * signalling.BORE * signalling.THICK * (v_in - of["v_out"]) + of["wall"]
    sizes = {"content_sd": 0.02 * content.max(), "rate_sd": 0.02 * float(jnp.abs(of["wall"]).max())}
    noise = rng.standard_normal((2, repetitions, len(content)))
    return spurious_flux(
        fine.times, content + sizes["content_sd"] * noise[0], rate + sizes["rate_sd"] * noise[1],
        suspected=-jnp.abs(of["wall"]), **sizes,
    )  # fmt: skip


found = {loss: detected(of) for loss, of in ((0.0, sound), (LOSS, leaky))}
rows = {
    loss: {
        "estimate": np.mean(each.estimate),
        "lower": np.mean(each.lower),
        "upper": np.mean(each.upper),
        "detected": np.mean(each.detected),
        "power predicted": float(np.mean(each.power(loss))),
    }
    for loss, each in found.items()
}
detection = pd.DataFrame(rows).T.rename_axis("share lost")
assert detection.detected[0.0] < 0.04 and abs(detection.detected[LOSS] - detection["power predicted"][LOSS]) < 0.1
detection.round(3)

# %% [markdown]
# And who calibrates with a model that knows of no leak? The best fit to blood that leaves (without noise, so that what
# remains is bias) puts the loss elsewhere: less into the wall than into the decay of the ligand. The bias is in standard
# errors of a posterior with the prior and 5 % of noise.

# %%
places = np.searchsorted(fine.times, times)


def spread(space, names):
    """Half the distance between the logarithms of the quantiles at 16 and 84 %, which is a normal's deviation."""
    ends = (space.from_cube(np.full(len(space.free), share)) for share in (0.1587, 0.8413))
    low, high = (np.log([float(end[name]) for name in names]) for end in ends)
    return (high - low) / 2


prior = spread(smooth.space, fitted)
exact = np.asarray(sound["v_out"])[places]


def map_fit(data, steps=6):
    """Gauss-Newton with a normal prior of the logarithms, `prior` wide."""
    logs, errors = medians.copy(), 0.05 * data + 0.001
    for _ in range(steps):
        outputs, slopes = run(logs, 0.0)
        scaled = np.asarray(slopes)[places] / errors[:, None]
        residual = (data - np.asarray(outputs["v_out"])[places]) / errors
        precision = scaled.T @ scaled + np.diag(prior**-2)
        move = np.linalg.solve(precision, scaled.T @ residual - (logs - medians) / prior**2)
        logs = logs + move
    assert np.max(np.abs(move)) < 1e-3
    return logs, np.sqrt(np.diag(np.linalg.inv(precision)))


logs, errors = map_fit(np.asarray(leaky["v_out"])[places])
bias = pd.DataFrame(
    {"truth": np.exp(medians), "fitted": np.exp(logs), "standard errors": (logs - medians) / errors}, index=fitted
)
assert np.max(np.abs(bias["standard errors"])) > 0.5
bias.round(3)

# %% [markdown]
# ## Which schedule
#
# Parts may be solved once in each window, one after another (weak), or until they agree (strong). What `stability` predicts
# of windows of 1, 5 and 20 min, and the error of blood that leaves, against windows of 0.1 min.


# %%
def of_schedule(schedule):
    return replace(smooth, system=smooth.dynamics.with_schedule(schedule))


schedules = {f"weak, {step:g} min": Weak(step) for step in (1.0, 5.0, 20.0)}
schedules |= {"strong, quasi-Newton, 5 min": Strong(5.0, QuasiNewton()), "strong, Aitken, 5 min": Strong(5.0, Aitken())}
advice = stability(smooth, uq.Design([20.0, 120.0]), schedules=schedules)
print(advice)

# %%
sixths = uq.Design(np.arange(20.0, 121.0, 20.0))
theta = {name: float(value) for name, value in smooth.space.nominal().items()}
reference = np.asarray(uq.evaluate(of_schedule(Weak(0.1)), theta, sixths).outputs["v_out"])


def cost_and_error(name, schedule):
    """Of one schedule; what is known to be hidden by its errors is refused."""
    prediction = advice.predictions[name]
    row = {"growth predicted": prediction.growth, "stable": prediction.stable}
    try:
        with warnings.catch_warnings():
            # the table says it
            warnings.simplefilter("ignore", uq.CouplingWarning)
            found = uq.evaluate(of_schedule(schedule), theta, sixths)
    except uq.InputError:
        return row | {"error": np.nan, "solves": 0, "ended": "refused"}
    if int(found.result):
        return row | {"error": np.nan, "solves": int(found.steps), "ended": "not converged"}
    error = float(np.abs(found.outputs["v_out"] - reference).max() / reference.max())
    return row | {"error": error, "solves": int(found.steps), "ended": "done"}


costs = pd.DataFrame({name: cost_and_error(name, each) for name, each in schedules.items()}).T
assert costs.error["weak, 1 min"] < 0.05 and costs.error["strong, quasi-Newton, 5 min"] < costs.error["weak, 5 min"]
costs

# %% [markdown]
# ## From the cells of the tissue to the tissue, and back
#
# K and eps follow from the tissue's cells and their membranes, which matter where they let something through. Blood sees K
# and eps only: what it tells of (phi, P, D_ext) is the chain rule.

# %%
micro = {"phi": 0.6, "P": 50.0, "D_ext": 6000.0}


def macro(logs):
    """Logarithms of Kx, Ky, eps."""
    p = dict(zip(micro, jnp.exp(logs), strict=True)) | {"D_int": 600.0}
    return jnp.log(jnp.stack([*signalling.effective(p)[0].values()]))


at = jnp.log(jnp.array([*micro.values()]))
permeability = np.geomspace(0.5, 50000.0, 12)
tensors = np.exp(jax.lax.map(jax.jit(macro), jnp.stack([at.at[1].set(np.log(P)) for P in permeability])))
chain = np.asarray(jax.jacfwd(macro)(at))

figure, axis = plt.subplots(figsize=(5, 3), layout="constrained")
axis.semilogx(permeability, tensors[:, 0], "o-", label="along cells, $K_x$")
axis.semilogx(permeability, tensors[:, 1], "o-", label="across, $K_y$")
axis.set(xlabel="permeability of membranes (µm/min)", ylabel="effective diffusivity (µm²/min)", ylim=(0, None))
axis.legend(frameon=False)
pd.DataFrame(chain, index=["log Kx", "log Ky", "log eps"], columns=[f"by log {name}" for name in micro]).round(3)

# %%
outputs, slopes = run(medians, 0.0)
by_macro = np.asarray(slopes)[places] / (0.05 * exact + 0.001)[:, None]
by_micro = np.concatenate([by_macro[:, :3] @ chain, by_macro[:, 3:]], axis=1)
sharp, blurred = (matrix.T @ matrix for matrix in (by_macro, by_micro))
names = {"tissue": fitted, "cells": [*micro, *fitted[3:]]}
information = {"tissue": sharp, "cells": blurred}
modes = pd.DataFrame({kind: np.linalg.eigvalsh(each)[::-1] for kind, each in information.items()})
modes.index.name = "mode"
assert modes.iloc[-1, 1] < 1e-2 * modes.iloc[0, 1]
modes.map("{:.2e}".format)

# %%
priors = {"tissue": prior, "cells": spread(signalling.space, names["cells"])}
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
learnt = {}
for axis, kind in zip(axes, names, strict=True):
    posterior = np.linalg.inv(information[kind] + np.diag(priors[kind] ** -2))
    sd = np.sqrt(np.diag(posterior))
    learnt[kind] = pd.Series(1 - (sd / priors[kind]) ** 2, index=names[kind])
    image = axis.imshow(posterior / np.outer(sd, sd), cmap="RdBu", vmin=-1, vmax=1)
    axis.set_xticks(range(len(sd)), names[kind], rotation=60)
    axis.set_yticks(range(len(sd)), names[kind])
    axis.set(title=f"parameters of the {kind}")
figure.colorbar(image, ax=axes, shrink=0.8, label="correlation a posteriori")
assert learnt["cells"]["P"] < 0.2
pd.DataFrame(learnt).loc[[*names["tissue"], *micro]].rename_axis("share of the prior variance that is gone").round(3)

# %% [markdown]
# Which of the three are known, and in which combination: the directions of the information, the best known first, with the
# standard deviation of each in logarithms. The last one is hardly known to anybody who has only blood.

# %%
vectors = np.linalg.eigh(blurred[:3, :3])
directions = pd.DataFrame(vectors.eigenvectors[:, ::-1], index=[f"log {name}" for name in micro])
directions.loc["standard deviation"] = vectors.eigenvalues[::-1] ** -0.5
assert directions.loc["standard deviation"].iloc[2] > 10 * directions.loc["standard deviation"].iloc[0]
directions.rename_axis(columns="direction").round(3)

# %% [markdown]
# ## Which scale makes the spread
#
# The mean concentration of the tissue after an hour, from the prior: first by source, then by the number of cells that
# secrete as much together. Genes that jump are many sources of chance where cells are many.


# %%
def after_an_hour(outputs, design):
    return outputs["c_mean"][29]


hour = uq.Quantity(after_an_hour, hours, "1/um^3", "mean concentration in the tissue after an hour")
sources = source_indices(uq.Study("tissue", jumping, {"dose": hours}, quantities={"c": hour}), n=128)
by_source = sources.isel(quantity=0).to_dataframe()[["S1", "ST", "ST_lower", "ST_upper"]].sort_values("ST")

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5), layout="constrained")
ends = np.abs(by_source[["ST_lower", "ST_upper"]].to_numpy().T - by_source.ST.to_numpy())
left.barh(by_source.index, by_source.ST, xerr=ends, color=["C3" if "run" in n else "0.7" for n in by_source.index])
left.set(xlabel="total index, with 95 % interval", title="mean concentration after an hour")
ensembles = {8: ensemble} | {count: runs_of(of_cells(count), 64, 4, seed=count) for count in (2, 32)}
split = {count: total_variance(np.asarray(ensembles[count]["c_mean"])[..., 29]) for count in (2, 8, 32)}
shares = pd.DataFrame(
    {
        count: {end: float(each[f"aleatory_share{end}"]) for end in ("", "_lower", "_upper")}
        for count, each in split.items()
    }
).T
right.errorbar(
    shares.index, shares[""], yerr=[shares[""] - shares["_lower"], shares["_upper"] - shares[""]], fmt="o", color="C3"
)
right.set(xscale="log", yscale="log", xlabel="cells", ylabel="share of chance in the variance")
right.set_xticks(shares.index, map(str, shares.index))
right.minorticks_off()

# %%
sd = {count: float(np.sqrt(each["aleatory"])) for count, each in split.items()}
assert sd[2] > 1.5 * sd[8] and sd[8] > 1.5 * sd[32]
shares.rename(columns={"": "aleatory share", "_lower": "lower", "_upper": "upper"}).rename_axis("cells").round(3)
