"""What it gains to integrate out the scales of relative data, where they trade off against a rate and where not."""

import arviz as az
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import uqbench as uq
from uqbench.calibration import calibrate
from uqbench.likelihoods import LinearEffects

TIMES = np.array([0.5, 1.0, 2.0, 3.0, 5.0, 8.0])
TRUE = {"k1": 0.4, "k2": 0.3, "k3": 0.8, "k4": 0.5}
SCALES = {"x": (1.0, 2.5, 0.6), "y": (3.0, 1.2, 0.4)}
NOISE = 0.05


def initial(p, inputs):
    return {"x": 0.0, "y": 0.0}


def cascade(t, y, p, inputs):
    return {
        "x": p["k1"] * inputs["dose"] * (1 - y["x"]) - p["k2"] * y["x"],
        "y": p["k3"] * y["x"] - p["k4"] * y["y"],
    }


def seen(y, p):
    return {"x": y["x"], "y": y["y"]}


def blots(known):
    """Two outputs on three gels each; with `known` the rate that the scales of y are multiplied with."""
    rates = {name: uq.epistemic(uq.LogNormal(median=0.5, sigma=1.0), "1/h") for name in TRUE}
    rates |= {"k3": uq.fixed(TRUE["k3"], "1/h")} if known else {}
    of_outputs = {f"sigma_{output}": uq.epistemic(uq.HalfNormal(0.5)) for output in SCALES}
    of_outputs |= {f"scale_{output}": uq.epistemic(uq.Normal(1.0, 3.0), by="gel") for output in SCALES}
    noise = {output: uq.Normal(f"scale_{output}*{output}", f"sigma_{output}") for output in SCALES}
    model = uq.Model(uq.Space(rates | of_outputs), uq.Ode(initial, cascade), seen, {"x": "", "y": ""}, noise)
    rng, rows, designs = np.random.default_rng(0), [], {}
    theta = model.space.nominal() | {name: jnp.asarray(value) for name, value in TRUE.items()}
    for dose in (1.0, 3.0):
        designs[f"dose {dose:g}"] = uq.Design(TIMES, inputs={"dose": dose})
        run = uq.evaluate(model, theta, designs[f"dose {dose:g}"])
        for output, scales in SCALES.items():
            for gel, scale in enumerate(scales):
                values = scale * np.asarray(run.outputs[output]) + NOISE * rng.normal(size=len(TIMES))
                rows += [(f"dose {dose:g}", output, t, value, gel) for t, value in zip(TIMES, values, strict=True)]
    data = pd.DataFrame(rows, columns=["experiment", "output", "time", "value", "gel"])
    return uq.Study("blots", model, designs, data)


def per_gradient(study):
    tree = calibrate(study, draws=500, tune=500)
    least = min(float(az.ess(tree["posterior"][name])) for name in study.model.space.free)
    return 1000 * least / float(tree["sample_stats"]["n_steps"].sum())


@pytest.mark.bench
@pytest.mark.slow
def test_integrated_scales_are_worth_more_draws_where_only_products_are_known(monkeypatch):
    found = {}
    for known in (False, True):
        study = blots(known)
        integrated = per_gradient(study)
        with monkeypatch.context() as patch:
            patch.setattr(LinearEffects, "of", classmethod(lambda cls, likelihood: None))
            found[known] = integrated, per_gradient(study)
    print({f"rate known: {known}": f"{new:.1f} against {old:.1f}" for known, (new, old) in found.items()})
    # seen: 212 against 1.7 and 220 against 178 with 1000 draws
    assert found[False][0] > 10 * found[False][1]
    assert found[True][0] > 0.5 * found[True][1]
