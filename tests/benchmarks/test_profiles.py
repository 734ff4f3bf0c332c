"""Best fit and profiles of Boehm et al. 2014 side by side with fides and scipy, on the measured table.

All get the same objective, gradient and Fisher information, one point at a time, within the published bounds of 1e-5
and 1e5, and begin at the same points; fides and scipy on decadic logarithms, as their users have them. What counts is
evaluations for one success, which no other process on the machine disturbs; CPU time is that of so many evaluations,
and of the search around them. The table lies beside the project (see tests/forward_models/published_boehm.py).
(Froehlich & Sorger 2022, doi:10.1371/journal.pcbi.1010322; Raue et al. 2009, doi:10.1093/bioinformatics/btp358.)
"""

import logging
import time

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import chi2

from uqbench.identifiability import profile_likelihood
from uqbench.optimization import find_map, objective
from uqbench.optimization.objective import objective_of

from ..forward_models.published_boehm import LOG_LIKELIHOOD, measured_study

pytestmark = pytest.mark.bench
fides = pytest.importorskip("fides", reason="fides is in the dependency group bench")

STARTS = 100
DECADE = np.log(10.0)
# Of the profile in fixed steps, in decades: an eighteenth of the narrowest of the nine intervals.
STEP = 0.01


class Counted:
    """The objective as a minimiser wants it, by decadic logarithms; counts what it is asked and how long that takes."""

    def __init__(self, study):
        self.objective = objective_of(study)
        self.evaluations, self.seconds = 0, 0.0

    @property
    def bounds(self):
        coordinates = self.objective.coordinates
        return coordinates.lower / DECADE, coordinates.upper / DECADE

    def __call__(self, x):
        """Value, gradient and Fisher information of the negative log-likelihood."""
        began = time.process_time()
        score = self.objective(DECADE * x[None])[0]
        self.evaluations += 1
        self.seconds += time.process_time() - began
        return -score.value, -DECADE * score.gradient, DECADE**2 * score.root.T @ score.root


def by_fides(counted, x, **settings):
    lower, upper = counted.bounds
    found = fides.Optimizer(counted, ub=upper, lb=lower, verbose=logging.ERROR, **settings)
    return found.minimize(x)[0]


def by_fides_hybrid(counted, x):
    """The Fisher information first, BFGS from where it no longer helps."""
    return by_fides(counted, x, hessian_update=fides.HybridFixed())


def by_lbfgs(counted, x):
    bounds = np.transpose(counted.bounds)
    options = {"maxiter": 1000, "maxfun": 1000, "ftol": 1e-12}
    return minimize(lambda x: counted(x)[:2], x, jac=True, method="L-BFGS-B", bounds=bounds, options=options).fun


SEARCHES = {"fides, Fisher information": by_fides, "fides, hybrid": by_fides_hybrid, "scipy, L-BFGS-B": by_lbfgs}


def reached(values):
    return int(np.sum(np.asarray(values) > LOG_LIKELIHOOD - 0.01))


def printed(name, successes, evaluations, each, overhead):
    seconds, share = evaluations * each + overhead, 1 / max(successes, 1)
    print(
        f"{name}: {successes} of {STARTS} starts, {evaluations} evaluations, {evaluations * share:.0f} for a success; "
        f"CPU {seconds:.1f} s, {seconds * share:.2f} s for a success, of the search itself {overhead:.1f} s"
    )


def test_evaluations_for_a_best_fit(capsys, monkeypatch):
    study = measured_study()
    find_map(study, starts=2, prior=False)
    began = time.process_time()
    fit = find_map(study, starts=STARTS, prior=False)
    seconds, own = time.process_time() - began, int(fit.scores.sum())
    starts = objective_of(study).coordinates.starts(STARTS, 0)
    # one search at a time has nothing to fill a batch with
    monkeypatch.setattr(objective, "TOGETHER", 1)
    Counted(study)(starts[0] / DECADE)
    found = {}
    for name, search in SEARCHES.items():
        counted, began = Counted(study), time.process_time()
        values = [-search(counted, x / DECADE) for x in starts]
        overhead = time.process_time() - began - counted.seconds
        found[name] = reached(values), counted.evaluations, counted.seconds / counted.evaluations, overhead
    successes = reached(fit.log_density)
    with capsys.disabled():
        print()
        printed("uqbench", successes, own, seconds / own, 0.0)
        for name, row in found.items():
            printed(name, *row)
    assert fit.attrs["log_density"] == pytest.approx(LOG_LIKELIHOOD, abs=5e-4)
    for name, (hits, evaluations, *_) in found.items():
        assert own / successes < evaluations / max(hits, 1), name


def end_in_steps(counted, best, index, direction, limit):
    """The parameter in fixed steps, the others by L-BFGS-B from where they were, until the likelihood has fallen; the
    end between the last two points, NaN where there is none."""
    lower, upper = counted.bounds
    others, x = np.arange(len(best)) != index, best.copy()
    until = counted(best)[0] + chi2.ppf(0.95, 1) / 2

    def held(free, value):
        whole = np.empty_like(best)
        whole[others], whole[index] = free, value
        minus, gradient, _ = counted(whole)
        return minus, gradient[others]

    before = -np.inf
    while x[index] != limit:
        value = np.clip(x[index] + direction * STEP, lower[index], upper[index])
        found = minimize(
            held, x[others], (value,), jac=True, method="L-BFGS-B",
            bounds=np.transpose([lower[others], upper[others]]),
        )  # fmt: skip
        if found.fun > until:
            share = (until - before) / (found.fun - before) if np.isfinite(before) else 1.0
            return x[index] + share * (value - x[index])
        before, x[others], x[index] = found.fun, found.x, value
    return np.nan


def test_evaluations_for_nine_profiles(capsys, monkeypatch):
    study = measured_study()
    fit = find_map(study, starts=16, prior=False)
    profile_likelihood(study, fit)
    began, cpu = time.perf_counter(), time.process_time()
    profile = profile_likelihood(study, fit)
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    own = profile.attrs["scores"]
    monkeypatch.setattr(objective, "TOGETHER", 1)
    counted = Counted(study)
    best = counted.objective.coordinates.at(dict(zip(fit.parameter.values, fit.value.values, strict=True))) / DECADE
    ends = {}
    for index, name in enumerate(profile.parameter.values):
        for side, direction, limit in zip(
            ("lower", "upper"), (-1, 1), np.transpose(counted.bounds)[index], strict=True
        ):
            ends[name, side] = end_in_steps(counted, best, index, direction, limit)
    ours = {(name, side): np.log10(float(profile[side].sel(parameter=name))) for name, side in ends}
    apart = {key: abs(end - ours[key]) for key, end in ends.items() if np.isfinite(ours[key])}
    with capsys.disabled():
        certificate, furthest = float(profile.certificate.max()), max(apart.values())
        print(f"\nuqbench: {own} evaluations, {wall:.1f} s, CPU {cpu:.1f} s; certificate {certificate:.1e}")
        print(f"fixed steps of {STEP} decades and L-BFGS-B: {counted.evaluations} evaluations, ratio "
              f"{counted.evaluations / own:.1f}; ends apart by {furthest:.4f} decades")  # fmt: skip
    assert {key for key, end in ends.items() if np.isfinite(end)} == set(apart)
    assert max(apart.values()) < STEP
    assert counted.evaluations > 3 * own
