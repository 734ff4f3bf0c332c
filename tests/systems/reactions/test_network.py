"""What a network is made of, and what is wrong with one."""

import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from uqbench.symbols import read

from . import networks


def test_every_finding_at_once():
    with pytest.raises(uq.InputError) as raised:
        uq.Reactions({"U": 1.5}, {"b": {"X": 1, "U": 0.5}, "c": {"U": 0}}, lambda y: y)
    said = " ".join(raised.value.findings)
    assert len(raised.value.findings) == 5
    for words in ("starts at 1.5", "'X', which is no species", "by 0.5", "'c' changes nothing", "(y, p, inputs)"):
        assert words in said


@pytest.mark.parametrize("species", ["X", ["X"], ("X",), {"X": 0}])
def test_species_without_a_start_are_absent(species):
    network = uq.Reactions(species, {"birth": {"X": 1}}, lambda y, p, inputs: {"birth": 1.0})
    assert network.names == ("X",) and float(network.start({}, {})["X"]) == 0.0


def test_starts_come_from_parameters_inputs_and_functions():
    start = networks.dimerisation.start({"A0": 30.0}, {})
    assert {name: float(value) for name, value in start.items()} == {"A": 30.0, "B": 0.0}
    network = uq.Reactions(["A", "B"], {"r": {"A": -1}}, lambda y, p, i: {"r": y["A"]}, lambda p, i: {"B": i["dose"]})
    assert float(network.start({}, {"dose": 4.0})["B"]) == 4.0


def test_a_reaction_that_goes_on_without_its_molecules_is_found():
    """Two equal molecules react with y (y - 1), not with y squared."""

    def squared(y, p, inputs):
        return {"bind": p["c"] * y["A"] ** 2, "part": p["u"] * y["B"]}

    wrong = uq.Reactions({"A": 30, "B": 0}, networks.dimerisation.stoichiometry, squared)
    (finding,) = wrong.count_findings(networks.PAIRS.nominal(), uq.Design([1.0]))
    assert "takes 2 'A'" in finding and "y['A'] * (y['A'] - 1)" in finding
    assert networks.dimerisation.count_findings(networks.PAIRS.nominal(), uq.Design([1.0])) == []


def test_starts_that_are_no_copy_numbers_are_found():
    nominal = {**networks.PAIRS.nominal(), "A0": 2.5}
    (finding,) = networks.dimerisation.count_findings(nominal, uq.Design([1.0]))
    assert "starts at 2.5" in finding


def test_shapes_and_names_are_compared():
    network = uq.Reactions(
        {"X": "x0"}, {"birth": {"X": 1}, "death": {"X": -1}}, lambda y, p, i: {"birth": 1.0, "deth": 1.0}
    )
    (finding,) = network.shape_findings({}, uq.Design([1.0]))
    assert "'x0'" in finding
    said = " ".join(network.shape_findings({"x0": jnp.zeros(())}, uq.Design([1.0])))
    assert "no rate for 'death'" in said and "did you mean 'death'?" in said


def test_mass_action_has_no_combinatorial_factors():
    model = uq.Model(networks.PAIRS, networks.dimerisation.ode("V"), units={"A": "", "B": ""})
    symbolic = read(model, uq.Design([1.0]))
    A, B, c, u = (symbolic.symbols[name] for name in ("A", "B", "c", "u"))
    assert (symbolic.rhs["B"] - (c * A**2 - u * B)).expand() == 0
    assert symbolic.evaluate("initial", {"A0": 30.0, "V": 3.0, "c": 1.0, "u": 1.0})["A"] == 10.0


def _repressed(y, p, inputs):
    return {"make": p["V"] * p["a"] / (1 + (y["U"] / (p["K"] * p["V"])) ** p["n"]), "lose": p["g"] * y["U"]}


def _repressed_by_exp(y, p, inputs):
    repression = jnp.exp(p["n"] * jnp.log(y["U"] / (p["K"] * p["V"])))
    return {"make": p["V"] * p["a"] / (1 + repression), "lose": p["g"] * y["U"]}


def test_the_limit_is_extrapolated_where_functions_are_used():
    space = networks.space(a=3.0, K=1.0, n=2.0, g=1.0, V=10.0)
    found = []
    for propensities in (_repressed, _repressed_by_exp):
        network = uq.Reactions({"U": 5}, {"make": {"U": 1}, "lose": {"U": -1}}, propensities)
        model = uq.Model(space, network.ode("V"), units={"U": ""})
        found.append(uq.evaluate(model, space.nominal(), uq.Design([0.1, 1.0])).outputs["U"])
    np.testing.assert_allclose(*found, rtol=1e-8)


def test_propensities_that_do_not_go_with_the_volume_are_refused():
    def wrong(y, p, inputs):
        return {"birth": p["a"], "death": p["g"] * y["X"] * (y["X"] - 1)}

    network = uq.Reactions({"X": 5}, {"birth": {"X": 1}, "death": {"X": -2}}, wrong)
    model = uq.Model(networks.space(a=1.0, g=1.0, V=2.0), network.ode("V"), units={"X": ""})
    with pytest.raises(uq.InputError) as raised:
        uq.evaluate(model, model.space.nominal(), uq.Design([1.0]))
    assert ["power 0" in each or "power 2" in each for each in raised.value.findings] == [True, True]


def test_a_volume_that_nobody_knows_is_named():
    model = uq.Model(networks.PAIRS, networks.dimerisation.ode("W"), units={"A": ""})
    with pytest.raises(uq.InputError, match="'W' is neither a parameter nor an input"):
        uq.evaluate(model, networks.PAIRS.nominal(), uq.Design([1.0]))
