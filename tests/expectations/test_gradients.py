"""Derivatives of expected values by every view of a network, against those of its master equation."""

import numpy as np
import pytest

import uqbench as uq
from uqbench.expectations import Estimate, expectation_gradient

RUNS = 16_384
# d E[X] and d P(X > 25) by k and g at t = 5, of negative autoregulation with g = 1, from the master equation
TRUTH = {40.0: {"X": (0.334645, -13.317769), "above": (0.0132012, -0.5252503)}, 10.0: {"X": (0.58155, -5.73729)}}


def autoregulated(y, p, inputs):
    return {"make": p["k"] / (1 + y["X"] / 20), "lose": p["g"] * y["X"]}


def linear(y, p, inputs):
    return {"make": p["k"], "lose": p["g"] * y["X"]}


CHANGES = {"make": {"X": 1}, "lose": {"X": -1}}
network = uq.Reactions({"X": 0}, CHANGES, autoregulated)
DESIGN = uq.Design([5.0])


def space(**values):
    return uq.Space({name: uq.epistemic(uq.LogNormal(median=value, sigma=0.2)) for name, value in values.items()})


SPACE = space(k=40.0, g=1.0)


def species(y, p):
    return {"X": y["X"]}


def above(y, p):
    return {"X": y["X"], "above": y["X"] > 25}


def table(view, observe=species, k=40.0, **settings):
    outputs = ("X", "above") if observe is above else ("X",)
    model = uq.Model(SPACE, view, observe, dict.fromkeys(outputs, ""))
    return expectation_gradient(model, {"k": k, "g": 1.0}, DESIGN, **settings)


@pytest.mark.parametrize("method", ["differences", "likelihood ratio"])
@pytest.mark.parametrize("k", [10.0, 40.0])
def test_exact_simulation(method, k):
    found = table(network.jumps(), above if k == 40.0 else species, k, method=method, runs=RUNS)
    truth = np.concatenate([*TRUTH[k].values()])
    assert np.all(found["reason"] == "")
    error = found["standard_error"].to_numpy()
    assert np.all(np.abs(found["value"] - truth) < 3 * error)
    assert np.all(error < 0.25 * np.abs(truth))
    expected = {"differences": Estimate.SPLIT_COUPLING, "likelihood ratio": Estimate.LIKELIHOOD_RATIO}[method]
    assert set(found["label"]) == {expected.label}


@pytest.mark.slow
def test_the_master_equation_is_exact():
    found = table(network.master_equation(), above)
    np.testing.assert_allclose(found["value"], np.concatenate([*TRUTH[40.0].values()]), rtol=1e-5)
    assert set(found["label"]) == {"exact"} and np.all(found["standard_error"] == 0)


def test_moments_are_exact_of_an_approximation():
    found = table(network.moments())
    assert set(found["label"]) == {"exact of an approximation"}
    # close to the truth, but another number
    relative = np.abs(found["value"] / np.array(TRUTH[40.0]["X"]) - 1)
    assert np.all(relative < 1e-3) and np.any(relative > 1e-6)
    assert set(table(network.ode())["label"]) == set(table(network.linear_noise())["label"]) == set(found["label"])
    own = uq.Model(SPACE, uq.Ode(network.ode().initial, network.ode().rhs), species, {"X": ""})
    assert set(expectation_gradient(own, {"k": 40.0, "g": 1.0}, DESIGN)["label"]) == {"exact"}


@pytest.mark.slow
def test_langevin_goes_along_its_paths():
    """Linear drift: the mean of the discretised equation is known, m' = m + h (k - g m)."""
    steps, end = 20, 2.0
    model = uq.Model(
        space(k=100.0, g=1.0),
        uq.Reactions({"X": 100}, CHANGES, linear).langevin(step=2 * end / steps, tolerance=1e9),
        species,
        {"X": ""},
    )
    found = expectation_gradient(model, {"k": 90.0, "g": 1.0}, uq.Design([end]), runs=512)

    def mean(k, g):
        m = 100.0
        for _ in range(steps):
            m += end / steps * (k - g * m)
        return m

    truth = [(mean(91.0, 1.0) - mean(89.0, 1.0)) / 2, (mean(90.0, 1 + 1e-5) - mean(90.0, 1 - 1e-5)) / 2e-5]
    assert set(found["label"]) == {"pathwise"} and np.all(found["reason"] == "")
    assert np.all(np.abs(found["value"] - truth) < 3 * found["standard_error"])
    assert np.all(found["standard_error"] < 0.1 * np.abs(truth))


def test_a_path_does_not_tell_the_derivative_of_an_output_that_jumps():
    # its slope along paths is zero everywhere
    found = table(network.langevin(step=0.25, tolerance=1e9), above, runs=512)
    jumping = found["output"] == "above"
    assert np.all(np.isnan(found["value"][jumping])) and np.all(found["reason"][jumping].str.contains("contradict"))
    assert np.all(found["reason"][~jumping] == "")


@pytest.mark.slow
def test_leaps_and_hybrids_take_the_same_keys():
    def promoter(y, p, inputs):
        return {"on": p["k"] * (1 - y["G"]), "off": y["G"], "make": p["r"] * y["G"], "lose": y["M"]}

    changes = {"on": {"G": 1}, "off": {"G": -1}, "make": {"M": 1}, "lose": {"M": -1}}
    gene, values, design = uq.Reactions({"G": 0, "M": 0}, changes, promoter), {"k": 0.5, "r": 20.0}, uq.Design([1.0])
    parts = space(**values), lambda y, p: {"M": y["M"]}, {"M": ""}
    # the mean is that of the rate equations: all is linear
    truth = expectation_gradient(uq.Model(parts[0], gene.ode(), *parts[1:]), values, design)
    for view in (gene.hybrid(["G"]), gene.jumps(leap=0.05)):
        found = expectation_gradient(uq.Model(parts[0], view, *parts[1:]), values, design, runs=1024)
        assert set(found["label"]) == {Estimate.SAME_KEYS.label}
        assert np.all(np.abs(found["value"] - truth["value"]) < 3 * found["standard_error"])


def test_what_outputs_depend_on_directly_counts_too():
    def scaled(y, p):
        return {"X": p["s"] * y["X"]}

    linear_network = uq.Reactions({"X": 0}, CHANGES, linear)
    model = uq.Model(space(k=10.0, g=1.0, s=2.0), linear_network.jumps(), scaled, {"X": ""})
    theta, mean = {"k": 10.0, "g": 1.0, "s": 2.0}, 10 * (1 - np.exp(-1.0))
    for method in ("differences", "likelihood ratio"):
        found = expectation_gradient(model, theta, uq.Design([1.0]), method=method, runs=RUNS)
        found = found.set_index("parameter")
        assert abs(found["value"]["s"] - mean) < 3 * found["standard_error"]["s"]
        assert abs(found["value"]["k"] - 2 * mean / 10) < 3 * found["standard_error"]["k"]


def test_no_number_where_there_is_none():
    never = table(network.jumps(), above, 2.0, method="likelihood ratio", runs=64)
    assert np.all(never["reason"][never["output"] == "above"].str.contains("not resolved"))
    exploded = table(network.jumps(max_events=32), runs=64)
    assert np.all(np.isnan(exploded["value"])) and np.all(exploded["reason"].str.contains("max_events"))


def test_everything_wrong_is_said_at_once():
    with pytest.raises(uq.InputError, match=r"'q' is no parameter(.|\n)*runs is 3(.|\n)*'pathwise' is not offered"):
        table(network.jumps(), parameters=["q"], runs=3, method="pathwise")
    with pytest.raises(uq.InputError, match="'k' is 0, where no share"):
        table(network.jumps(), k=0.0)
    with pytest.raises(uq.InputError, match="takes none"):
        table(network.moments(), steps={"k": 1.0})
    timed = uq.Reactions({"X": "x0"}, CHANGES, lambda t, y, p, inputs: linear(y, p, inputs))
    model = uq.Model(space(k=1.0, g=1.0, x0=3.0), timed.jumps(), species, {"X": ""})
    theta = {"k": 1.0, "g": 1.0, "x0": 3.0}
    with pytest.raises(uq.InputError, match=r"functions of time(.|\n)*start depends on 'x0'"):
        expectation_gradient(model, theta, DESIGN, method="likelihood ratio")
