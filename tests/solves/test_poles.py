"""Solutions that grow beyond all numbers at a finite time: there is nothing right after it, whatever the steps do."""

import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq

from .problems import model

# right-hand sides `(y, a)` whose solution from (1, 1) has a pole before t = 1 / a
POLES = {
    "square": lambda y, a: {"y": a * y["y"] ** 2, "z": -y["z"]},
    "power 1.5": lambda y, a: {"y": 2 * a * y["y"] ** 1.5, "z": -0.01 * jnp.sqrt(y["z"])},
    "tangent": lambda y, a: {"y": a * (1 + y["y"] ** 2), "z": y["y"] - 1e3 * y["z"]},
    "each by the other": lambda y, a: {"y": a * y["y"] * y["z"], "z": a * y["y"] * y["z"]},
}


@pytest.mark.parametrize("rtol", [1e-4, 1e-6, 1e-8])
@pytest.mark.parametrize("name", POLES)
def test_no_step_leads_across_a_pole(name, rtol):
    growing = model(
        lambda p, inputs: {"y": 1.0, "z": 1.0},
        lambda t, y, p, inputs: POLES[name](y, p["a"]),
        {"a": 1.0},
        ["y", "z"],
        rtol=rtol,
    )
    rates = jnp.geomspace(0.1, 30.0, 12)
    run = uq.evaluate_many(growing, {"a": rates}, uq.Design([0.01, 100.0, 1000.0]))
    assert np.all(np.isin(run.result, [uq.Result.BLOW_UP, uq.Result.NO_STEP]))
    assert np.all(np.isnan(run.outputs["y"]))
