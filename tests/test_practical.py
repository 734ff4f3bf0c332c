"""The joined table: verdicts from what there is, and a reason wherever two columns seem to disagree."""

import numpy as np
import pytest
import xarray as xr

from uqbench.results import practical


def structure(verdict="global", combination=""):
    found = {"verdict": [verdict], "reason": [""], "combination": [combination]}
    return xr.Dataset({key: ("parameter", value) for key, value in found.items()}, coords={"parameter": ["k"]})


def fisher(error, prior_sd=1.0, logarithmic=False):
    return xr.Dataset(
        {
            "cramer_rao": ("parameter", [error]),
            "prior_sd": ("parameter", [prior_sd]),
            "shrinkage": ("parameter", [0.5]),
            "matrix": (("parameter", "parameter_"), [[1.0]]),
            "logarithmic": ("parameter", [logarithmic]),
        },
        coords={"parameter": ["k"], "parameter_": ["k"]},
    )


def profile(lower, upper, relation=""):
    ends = {"lower": 1.0 if lower == "bounded" else np.nan, "upper": 2.0 if upper == "bounded" else np.nan}
    found = {"verdict_lower": [lower], "verdict_upper": [upper], "relation": [relation]}
    found |= {key: [value] for key, value in ends.items()}
    return xr.Dataset({key: ("parameter", value) for key, value in found.items()}, coords={"parameter": ["k"]})


def draws(width):
    return xr.Dataset({"k": (("chain", "draw"), np.linspace(0.0, width, 101)[None])})


def row(**groups):
    return practical(groups).sel(parameter="k")


@pytest.mark.parametrize(
    ("lower", "upper", "verdict"),
    [
        ("bounded", "bounded", "identifiable"),
        ("several optima", "bounded", "identifiable"),
        ("bounded", "open at the bound", "one-sided"),
        ("flat", "flat", "not identifiable"),
        ("bounded", "unsolved", "undecided"),
        ("stopped", "bounded", "undecided"),
    ],
)
def test_the_profile_decides_where_it_is_known(lower, upper, verdict):
    assert row(structure=structure(), fisher=fisher(0.1), profile=profile(lower, upper)).verdict == verdict


@pytest.mark.parametrize(
    ("error", "word", "verdict"),
    [
        (0.1, "determined", "identifiable"),
        (2.0, "sloppy", "not identifiable"),
        (np.inf, "lost", "not identifiable"),
        (np.nan, "not resolved", "undecided"),
    ],
)
def test_without_a_profile_the_information_decides(error, word, verdict):
    found = row(structure=structure(), fisher=fisher(error))
    assert (found.fisher, found.verdict) == (word, verdict)
    assert found.profile == ""


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({"structure": structure("none", "k*g"), "fisher": fisher(np.inf)}, "they show k*g"),
        ({"structure": structure(), "fisher": fisher(np.inf)}, "nothing of it to first order"),
        ({"structure": structure(), "fisher": fisher(3.0)}, "less than the prior"),
        (
            {"structure": structure(), "fisher": fisher(0.1), "profile": profile("bounded", "open")},
            "promises too much",
        ),
        (
            {"structure": structure(), "fisher": fisher(np.inf), "profile": profile("bounded", "bounded")},
            "trust the interval",
        ),
        (
            {"structure": structure("local"), "fisher": fisher(0.1), "profile": profile("bounded", "bounded")},
            "fit as well",
        ),
        (
            {
                "structure": structure(), "fisher": fisher(0.1), "profile": profile("bounded", "flat", "g ~ k"),
                "prior": draws(10.0), "posterior": draws(1.0),
            },
            "the prior's doing",
        ),
        ({"structure": structure(), "fisher": fisher(3.0), "profile": profile("bounded", "flat", "g ~ k")}, "g ~ k"),
        (
            {"structure": structure(), "fisher": fisher(0.1), "profile": profile("unsolved", "bounded")},
            "cannot be solved",
        ),
    ],
)  # fmt: skip
def test_disagreements_are_explained(groups, words):
    assert words in row(**groups).explanation.item()


def test_agreement_needs_no_words():
    found = row(structure=structure(), fisher=fisher(0.1), profile=profile("bounded", "bounded"))
    assert found.explanation == ""


@pytest.mark.parametrize(("width", "word"), [(1.0, "learned"), (7.0, "partly learned"), (9.5, "not learned")])
def test_the_posterior_is_compared_with_the_prior(width, word):
    found = row(fisher=fisher(0.1), prior=draws(10.0), posterior=draws(width))
    assert found.posterior == word
    assert found.posterior_width == pytest.approx(width / 10.0)


def test_a_prior_over_decades_is_compared_in_the_logarithm():
    prior, posterior = (xr.Dataset({"k": (("chain", "draw"), 10.0 ** np.linspace(*ends, 101)[None])})
                        for ends in ((-4.0, 4.0), (-3.0, -2.0)))  # fmt: skip
    found = row(fisher=fisher(0.1, logarithmic=True), prior=prior, posterior=posterior)
    assert found.posterior_width == pytest.approx(1 / 8)


def test_nothing_is_said_without_information_or_profile():
    assert practical({"structure": structure()}) is None


def test_what_distributes_levels_has_no_verdict_from_those_that_do_not_look_at_it():
    of_levels = structure().assign_attrs(of_levels='["k"]')
    found = row(structure=of_levels, fisher=fisher(np.inf), profile=profile("flat", "flat"))
    assert found.verdict == "undecided"
    assert str(found.explanation.item()).startswith("It tells how the parameters of levels are distributed")
    assert row(structure=structure(), fisher=fisher(np.inf), profile=profile("flat", "flat")).verdict != "undecided"
