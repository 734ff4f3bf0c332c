"""Rate equations, linear noise and moments against closed forms and against all probabilities."""

import numpy as np
import pytest
from scipy.linalg import expm

import uqbench as uq
from uqbench.identifiability import structural_identifiability

from . import networks


def of_protein(y, p):
    return {"M": y["M"], "P": y["P"], "fano": y["var_P"] / y["P"]}


@pytest.mark.parametrize("view", [networks.two_stage.linear_noise(), networks.two_stage.moments()])
def test_protein_noise_at_rest(view):
    """Means 10 and 500, Fano factor 1 + kp / (gm + gp) (Thattai & van Oudenaarden 2001)."""
    model = uq.Model(networks.STAGES, view, of_protein, dict.fromkeys(("M", "P", "fano"), ""))
    run = uq.evaluate(model, networks.STAGES.nominal(), uq.Design([np.inf]))
    np.testing.assert_allclose(
        [run.outputs[name][0] for name in model.outputs], [10.0, 500.0, 1 + 1.0 / 0.22], rtol=1e-8
    )
    assert uq.check_model(model, uq.Design([1.0, 50.0])).gradient_error < 1e-5


def test_the_promoter_is_exact_in_its_moments():
    """Mean 20/3 and Fano factor 19/3 at rest (telegraph model)."""
    model = uq.Model(networks.PROMOTER, networks.telegraph.moments(), units={"M": "", "var_M": ""})
    run = uq.evaluate(model, networks.PROMOTER.nominal(), uq.Design([np.inf]))
    mean, variance = (float(run.outputs[name][0]) for name in ("M", "var_M"))
    assert mean == pytest.approx(20 / 3, rel=1e-8) and variance / mean == pytest.approx(19 / 3, rel=1e-8)


def exact_dimerisation(time, c=1.0, u=1.0, volume=3.0, start=30):
    """Mean and variance of A, from the probabilities of all numbers of pairs."""
    pairs = np.arange(start // 2 + 1)
    free = start - 2 * pairs
    bind, part = c / volume * free * (free - 1), u * pairs
    generator = np.diag(-(bind + part)) + np.diag(bind[:-1], -1) + np.diag(part[1:], 1)
    probability = expm(generator * time)[:, 0]
    mean = free @ probability
    return mean, (free - mean) ** 2 @ probability


@pytest.mark.parametrize("closure, error", [("normal", 0.01), ("lognormal", 0.02), ("poisson", 0.02)])
def test_closures_of_dimerisation(closure, error):
    """Of second degree: each closure is nearer to the exact moments than rate equations are."""
    exact_mean, exact_variance = exact_dimerisation(1.0)
    model = uq.Model(networks.PAIRS, networks.dimerisation.moments(2, closure), units={"A": "", "var_A": ""})
    run = uq.evaluate(model, networks.PAIRS.nominal(), uq.Design([1.0]))
    means = uq.Model(networks.PAIRS, networks.dimerisation.moments(1), units={"A": ""})
    off = abs(float(uq.evaluate(means, networks.PAIRS.nominal(), uq.Design([1.0])).outputs["A"][0]) - exact_mean)
    assert abs(float(run.outputs["A"][0]) - exact_mean) < min(error * exact_mean, off)
    assert float(run.outputs["var_A"][0]) == pytest.approx(exact_variance, rel=0.25)


def test_unknown_orders_and_closures_and_names_that_collide():
    with pytest.raises(uq.InputError) as raised:
        networks.birth_death.moments(3, "gamma")
    assert len(raised.value.findings) == 2
    clash = uq.Reactions({"X": 0, "var_X": 0}, {"b": {"X": 1}}, lambda y, p, i: {"b": 1.0})
    with pytest.raises(uq.InputError, match="'var_X' would be the name of two"):
        clash.linear_noise()


def test_moments_know_more_than_means():
    """From the mean of mRNA alone no rate of the promoter is known; with its variance all are (telegraph model)."""

    def mean(y, p):
        return {"M": y["M"]}

    def both(y, p):
        return {"M": y["M"], "spread": y["var_M"]}

    known = []
    for observe, names in ((mean, ["M"]), (both, ["M", "spread"])):
        model = uq.Model(networks.PROMOTER, networks.telegraph.moments(), observe, dict.fromkeys(names, ""))
        found = structural_identifiability(model)
        known.append(set(found.parameter.values[found.locally.values]))
    assert known[0] < known[1] == {"kon", "koff", "r", "d"}
