"""What each row tells by itself adds up to what all tell."""

import jax.numpy as jnp
import numpy as np

from studies.indomethacin import study as indomethacin
from uqbench.likelihoods import likelihood_of


def test_rows_of_several_noise_arguments_add_up_to_the_information(decay_study):
    likelihood = likelihood_of(decay_study)
    names = decay_study.model.space.epistemic

    def place(x):
        return dict(zip(names, x, strict=True))

    x = jnp.array([0.5, 0.2])
    rows = likelihood.row_sensitivities(place, x)
    assert {output: each.shape for output, each in rows.items()} == {"C": (len(decay_study.data), 2, 2)}
    total = sum(jnp.einsum("rti,rtj->ij", each, each) for each in rows.values())
    np.testing.assert_allclose(total, likelihood.information(place, x).sum(axis=0), rtol=1e-12)
    assert likelihood.row_findings(place(x)) == {"C": [""] * len(decay_study.data)}


def test_rows_are_in_the_order_of_the_table(decay_study):
    likelihood = likelihood_of(decay_study)
    rows = likelihood.row_sensitivities(lambda x: {"k": x[0], "sigma": 0.2}, jnp.array([0.5]))["C"]
    data = decay_study.data
    dose = data["experiment"].map({"low": 2.0, "high": 4.0})
    slope = -data["time"] * dose * np.exp(-0.5 * data["time"]) / 0.2
    np.testing.assert_allclose(rows[:, :, 0].sum(axis=1), slope, rtol=1e-5)
    assert "row_information" in likelihood_of(indomethacin).capabilities
