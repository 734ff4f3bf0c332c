"""What the page says of how draws were made."""

import json

import numpy as np
import xarray as xr

from uqbench.reporting import sentences


def tree(mode, attempts, **attributes):
    stats = {"diverging": (("chain", "draw"), np.zeros((len(mode), 2), bool))}
    last = attempts[-1]
    said = {name: last[name] for name in ("sampler", "adaptation", "target_accept", "why")}
    return xr.DataTree.from_dict(
        {
            "convergence": xr.Dataset({"mode": ("chain", mode)}, {"chain": np.arange(len(mode))}),
            "posterior": xr.Dataset({"k": (("chain", "draw"), np.zeros((len(mode), 2)))}),
            "sample_stats": xr.Dataset(stats, attrs=said | {"attempts": json.dumps(attempts)} | attributes),
        }
    )


def attempt(sampler, adaptation="", why="", came=""):
    return {"sampler": sampler, "adaptation": adaptation, "target_accept": 0.9, "tune": 9, "why": why, "came": came}


def test_chains_in_different_modes_are_named():
    nuts = attempt("nutpie", "low_rank", "as given")
    assert sentences.modes(tree([0, 0], [nuts])) is None
    said = sentences.modes(tree([0, 1, 0], [nuts]))
    assert (
        said.startswith("Several modes: chains 0 and 2; chains 1 stay in different ones.") and "not to be used" in said
    )


def test_what_was_tried_is_said_in_order():
    first = attempt("nutpie", "low_rank", "the likelihood has a gradient", "smallest bulk ESS 6, chains in 2 modes")
    second = attempt("smc", why="chains stayed in different modes")
    found = tree([0, 0], [first, second], log_evidence=-3.456, log_evidence_error=0.021)
    assert sentences.sampled(found) == (
        "Sampled by tempering (sequential Monte Carlo): chains stayed in different modes. Before that by nutpie, "
        "adaptation low_rank, target acceptance 0.9: smallest bulk ESS 6, chains in 2 modes. Logarithm of the evidence "
        "-3.46, standard error 0.02."
    )
    # nor does tempering have a warm-up to tell of
    assert sentences.rejected(found) == []
