"""Networks at random, with default settings: right, or a result code, and never a wrong number with success.

What "right" means is in `random_networks.scales`. Failures print as a table; `python -m tests.solves.random_networks`
prints it for any range of seeds.
"""

import dataclasses

import jax
import numpy as np
import pytest

from .random_networks import HEADER, KINDS, Equations, examine, network, reference, reference_of, scales, solve

MOST_REFUSED = 0.02
# Of both kinds, and of 4 to 9 species, as larger ones take long to compile.
FEW = (6, 9, 11, 12, 14)


def assert_right(seeds):
    outcomes = []
    for seed in seeds:
        outcomes.append(examine(seed))
        jax.clear_caches()
    wrong = [outcome for outcome in outcomes if outcome.wrong]
    refused = [outcome for outcome in outcomes if outcome.refused and not outcome.wrong]
    table = "\n".join(map(str, [HEADER, *wrong, *refused]))
    assert not wrong, f"{len(wrong)} of {len(outcomes)} are wrong with success\n{table}"
    assert len(refused) <= MOST_REFUSED * len(outcomes), f"{len(refused)} of {len(outcomes)} are refused\n{table}"


def test_five_networks_are_solved():
    assert_right(FEW)


@pytest.mark.slow
def test_fifty_networks_are_solved():
    assert_right(range(50))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 2000, 100))
def test_a_thousand_networks_are_solved(first):
    assert_right(range(first, first + 100))


# --- the generator and the reference themselves


def test_networks_are_what_they_are_said_to_be():
    """3 to 12 species, rates over eight decades, concentrations from 1e-12 to 1e6; a seed gives the same again."""
    drawn = [network(seed) for seed in range(400)]
    sizes, starts = {len(one.start) for one in drawn}, np.concatenate([one.start for one in drawn])
    assert sizes == set(range(3, 13))
    assert {one.kind for one in drawn} == set(KINDS)
    positive = starts[starts > 0]
    assert positive.min() >= 1e-12 and positive.min() < 1e-11
    assert positive.max() <= 1e6 and positive.max() > 1e5
    rates = [reaction.constant for one in drawn for reaction in one.reactions if len(reaction.reactants) == 1]
    assert max(rates) / min(rates) > 1e12  # eight decades, around time scales that differ themselves
    assert network(7).reactions == network(7).reactions


def test_networks_do_something():
    """In most of them at least one state changes by more than a tenth of its largest value, and derivatives differ."""
    moving = 0
    for seed in FEW:
        exact = reference_of(seed)
        change = np.abs(exact.states[-1] - exact.states[0]) / np.maximum(exact.largest[-1], 1e-300)
        moving += change.max() > 0.1 and np.abs(exact.derivatives).max() > 0
    assert moving >= 4


@pytest.mark.parametrize("seed", FEW)
def test_the_model_and_its_reference_are_the_same_network(seed):
    """The author's form in JAX against the reference's in NumPy, at random states, with all derivatives."""
    drawn = network(seed)
    equations, names, states = Equations(drawn), tuple(drawn.theta), drawn.states
    y = drawn.start.max() * np.random.default_rng(seed).uniform(0.01, 1.0, len(states))

    def slope(y, logarithms):
        theta = dict(zip(names, jax.numpy.exp(logarithms), strict=True))
        change = drawn.model.system.rhs(0.0, dict(zip(states, y, strict=True)), theta, {})
        return jax.numpy.stack([change[name] for name in states])

    at = np.log([*drawn.theta.values()])
    by_state, by_parameter = jax.jit(jax.jacfwd(slope, argnums=(0, 1)))(y, at)
    for found, exact in (
        (equations.slope(y), slope(y, at)),
        (equations.jacobian(y), by_state),
        (equations.by_parameters(y), by_parameter),
    ):
        np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-9 * np.abs(exact).max())


@pytest.mark.slow
def test_the_fast_reference_agrees_with_the_thorough_one():
    for seed in (11, 14):
        drawn = network(seed)
        fast, thorough = reference(drawn), reference(drawn, thorough=True)
        of_states, of_derivatives = scales(thorough)
        assert np.max(np.abs(fast.states - thorough.states) / of_states) < 1e-8
        assert np.max(np.abs(fast.derivatives - thorough.derivatives) / of_derivatives[..., None]) < 1e-6


def test_a_wrong_number_with_success_is_found_out():
    """The measure itself: a loose tolerance is called wrong."""
    drawn = network(14)
    loose = dataclasses.replace(drawn.model, system=dataclasses.replace(drawn.model.system, rtol=1e-2))
    drawn.__dict__["model"] = loose  # where the cached property keeps it
    assert solve(drawn, reference(drawn)).wrong
