"""What the page says of how draws were made."""

import json

import numpy as np
import xarray as xr

from uqbench.reporting import sentences


def tree(mode, attempts, **attributes):
    stats = {"diverging": (("chain", "draw"), np.zeros((len(mode), 2), bool))}
    kept = next(each for each in attempts if each["kept"])
    said = {name: kept[name] for name in ("sampler", "adaptation", "target_accept", "why")}
    return xr.DataTree.from_dict(
        {
            "convergence": xr.Dataset({"mode": ("chain", mode)}, {"chain": np.arange(len(mode))}),
            "posterior": xr.Dataset({"k": (("chain", "draw"), np.zeros((len(mode), 2)))}),
            "sample_stats": xr.Dataset(stats, attrs=said | {"attempts": json.dumps(attempts)} | attributes),
        }
    )


def attempt(sampler, adaptation="", why="", came="", kept=True):
    said = {"sampler": sampler, "adaptation": adaptation, "target_accept": 0.9, "tune": 9, "why": why}
    return said | {"came": came, "kept": kept}


def test_chains_in_different_modes_are_named():
    nuts = attempt("nutpie", "low_rank", "as given")
    assert sentences.modes(tree([0, 0], [nuts])) is None
    said = sentences.modes(tree([0, 1, 0], [nuts]))
    assert (
        said.startswith("Several modes: chains 0 and 2; chains 1 stay in different ones.") and "not to be used" in said
    )


def test_what_was_tried_is_said_in_order():
    first = attempt(
        "nutpie", "low_rank", "the likelihood has a gradient", "smallest bulk ESS 6, chains in 2 modes", False
    )
    second = attempt("smc", why="chains stayed in different modes")
    found = tree([0, 0], [first, second], log_evidence=-3.456, log_evidence_error=0.021)
    assert sentences.sampled(found) == (
        "Sampled by tempering (sequential Monte Carlo): chains stayed in different modes. Before that by nutpie, "
        "adaptation low_rank, target acceptance 0.9: smallest bulk ESS 6, chains in 2 modes. Logarithm of the evidence "
        "-3.46, standard error 0.02."
    )
    # nor does tempering have a warm-up to tell of
    assert sentences.rejected(found) == []


def test_an_attempt_that_was_no_better_is_said_after_the_one_that_was_kept():
    first = attempt("nutpie", "low_rank", "the likelihood has a gradient", "smallest bulk ESS 380")
    second = attempt(
        "smc", why="again 4000 draws were worth 380 independent ones", came="smallest bulk ESS 150", kept=False
    )
    assert sentences.sampled(tree([0, 0], [first, second])) == (
        "Sampled by nutpie, adaptation low_rank, target acceptance 0.9: the likelihood has a gradient. Then, as again "
        "4000 draws were worth 380 independent ones, by tempering (sequential Monte Carlo), whose draws were no "
        "better: smallest bulk ESS 150."
    )


def test_a_missed_mode_is_said_with_what_is_not_to_be_used():
    found = tree([0, 0], [attempt("nutpie")])
    found["convergence"].attrs["missed_modes"] = "The draws have missed a mode of the posterior: that at a = 3."
    assert sentences.modes(found) == (
        "The draws have missed a mode of the posterior: that at a = 3. What is said of it here is not to be used."
    )
