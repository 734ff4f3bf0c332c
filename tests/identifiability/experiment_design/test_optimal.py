from dataclasses import replace
from itertools import combinations_with_replacement

import numpy as np
import pytest

import uqbench as uq
from forward_models.michaelis_menten import hyperbola
from studies.two_scale_cascade import late, truth
from uqbench.identifiability import candidate_measurements, fisher_information, optimal_design, with_measurements

from .models import design_matrix, polynomial_study, product_study

GRID = np.linspace(-1.0, 1.0, 9)


def best_of(degree, number, criterion, times=GRID, existing=()):
    """The best of all designs of so many measurements, one by one: log det of the information, or a variance."""

    def value(chosen):
        matrix = design_matrix(np.array([*existing, *chosen]), degree)
        information = matrix.T @ matrix
        if np.linalg.matrix_rank(information) <= degree:
            return np.inf
        if criterion == "D":
            return -np.linalg.slogdet(information)[1]
        covariance = np.linalg.inv(information)
        of = {"A": np.trace(covariance), "E": np.linalg.eigvalsh(covariance)[-1], "c": covariance[-1, -1]}
        return of[criterion]

    return min(map(value, combinations_with_replacement(times, number)))


def chosen_times(found):
    return np.repeat(found.time.values, found.times_measured.values)


@pytest.mark.parametrize("criterion", "DAEc")
@pytest.mark.parametrize("degree, number", [(1, 2), (1, 5), (2, 3), (2, 5), (3, 4)])
def test_a_polynomial_has_the_best_of_all_designs(criterion, degree, number):
    study = polynomial_study(degree)
    found = optimal_design(
        study, candidates=candidate_measurements(study, times=GRID), criterion=criterion, number=number,
        target="abcd"[degree] if criterion == "c" else None, existing=False,
    )  # fmt: skip
    best = best_of(degree, number, criterion)
    assert found.criterion_after == pytest.approx(-best if criterion == "D" else best, rel=1e-8)
    assert found.times_measured.sum() == number
    # the bound is one of designs with fractions of measurements too
    assert 0.0 < found.efficiency <= 1.0


def test_a_line_is_measured_at_both_ends_and_a_parabola_in_the_middle_too():
    """D-optimal designs of polynomials (Guest 1958, Annals of Mathematical Statistics 29, 294-299), and their proof."""
    for degree, points in ((1, [-1.0, 1.0]), (2, [-1.0, 0.0, 1.0])):
        study = polynomial_study(degree)
        found = optimal_design(
            study, candidates=candidate_measurements(study, times=GRID), number=4 * len(points), existing=False
        )
        np.testing.assert_array_equal(chosen_times(found), np.repeat(points, 4))
        assert found.efficiency == pytest.approx(1.0, abs=1e-9) and found.resolved


def test_a_decay_is_measured_after_its_mean_life(decay):
    space = uq.Space({**decay.space, "sigma": uq.fixed(0.1, "mg/L")})
    study = uq.Study("decay", replace(decay, space=space), {"one": uq.Design([1.0], inputs={"dose": 1.0})})
    candidates = candidate_measurements(study, times=np.linspace(0.25, 8.0, 32))
    found = optimal_design(study, {"k": 0.5}, candidates, number=3, existing=False)
    np.testing.assert_array_equal(chosen_times(found), [2.0, 2.0, 2.0])
    # d/dlog k of exp(-k t) is 1 / e there
    assert float(found.standard_error_after[0]) == pytest.approx(0.5 * 0.1 * np.e / np.sqrt(3), rel=1e-6)


def test_inputs_are_designed_as_times_are():
    """Of a hyperbola: largest S, and Km S / (2 Km + S) (Duggleby 1979, J. Theoretical Biology 81, 671-684)."""
    space = uq.Space({**hyperbola.space, "sigma": uq.fixed(0.01, "uM/min")})
    study = uq.Study("velocity", replace(hyperbola, space=space), {"one": uq.Design([0.0], inputs={"S": 1.0})})
    substrate = [0.5, 1.0, 10.0 / 7.0, 2.0, 4.0, 10.0]
    candidates = candidate_measurements(study, inputs={"S": substrate})
    found = optimal_design(study, {"Vm": 0.1, "Km": 2.0}, candidates, number=4, existing=False)
    assert dict(zip(substrate, found.times_measured.values, strict=True)) == {
        0.5: 0, 1.0: 0, 10.0 / 7.0: 2, 2.0: 0, 4.0: 0, 10.0: 2
    }  # fmt: skip


def test_what_is_measured_already_counts():
    study = polynomial_study(1, times=[1.0, 1.0])
    candidates = candidate_measurements(study, times=GRID)
    found = optimal_design(study, candidates=candidates, number=2)
    np.testing.assert_array_equal(chosen_times(found), [-1.0, -1.0])
    assert found.criterion_before == -np.inf and found.rank_before == 1 and found.rank_after == 2
    assert np.all(np.isinf(found.standard_error_before)) and np.all(np.isfinite(found.standard_error_after))
    assert found.criterion_after == pytest.approx(-best_of(1, 2, "D", existing=[1.0, 1.0]))


@pytest.mark.parametrize("criterion", "DAE")
def test_what_no_candidate_determines_is_named_and_the_rest_designed(criterion):
    study = product_study()
    candidates = candidate_measurements(study, times=[0.0, 1.0, 3.0], outputs=["y"])
    found = optimal_design(study, candidates=candidates, criterion=criterion, number=2)
    np.testing.assert_array_equal(chosen_times(found), [3.0, 3.0])
    assert found.undetermined == ["k", "g"]
    assert found.rank_possible == found.rank_after == 1
    whole = optimal_design(study, candidates=candidate_measurements(study, times=[0.0, 1.0, 3.0]), number=2)
    assert whole.undetermined == [] and whole.rank_before == 1 and whole.rank_after == 2
    assert "z" in whole.output.values[whole.times_measured.values > 0]


def test_one_measurement_cannot_do_for_two_parameters():
    study = polynomial_study(1)
    candidates = candidate_measurements(study, times=GRID)
    found = optimal_design(study, candidates=candidates, number=1, existing=False)
    assert found.criterion_after == -np.inf and found.efficiency == 0.0 and not found.resolved
    assert found.rank_after == 1 and found.rank_possible == 2 and found.undetermined == ["a", "b"]


def test_costs_and_replicates_are_respected():
    study = polynomial_study(1)
    price = {-1.0: 5.0, 1.0: 1.0}
    candidates = candidate_measurements(study, times=GRID, cost=lambda row: price.get(row.time, 2.0))
    cost = candidates.table["cost"].to_numpy()
    found = optimal_design(study, candidates=candidates, budget=9.0, existing=False)
    spent = float(found.times_measured.values @ cost)
    assert found.total_cost == spent <= 9.0
    affordable = [
        times
        for number in range(2, 10)
        for times in combinations_with_replacement(range(len(GRID)), number)
        if cost[list(times)].sum() <= 9.0
    ]
    matrices = (design_matrix(GRID[list(times)], 1) for times in affordable)
    assert found.criterion_after == pytest.approx(np.log(max(np.linalg.det(m.T @ m) for m in matrices)))
    once = optimal_design(study, candidates=candidates, number=4, replicates=1, existing=False)
    np.testing.assert_array_equal(chosen_times(once), [-1.0, -0.75, 0.75, 1.0])


@pytest.mark.slow
def test_the_cascade_is_measured_early_when_it_was_measured_late():
    """No time before 2 h was measured; all that D, A, E and c for the fast rate add lies there."""
    candidates = candidate_measurements(late)
    assert candidates.table["time"].min() < 0.1 and candidates.table["time"].max() == 20.0
    for criterion in "DAEc":
        found = optimal_design(
            late, truth, candidates, criterion=criterion, number=4, target="kf" if criterion == "c" else None
        )
        assert np.all((chosen_times(found) > 0.1) & (chosen_times(found) < 2.0))
        assert found.resolved
        assert float(found.standard_error_after.sel(parameter="kf")) < 0.1 * truth["kf"]
    # and it is what the study with these measurements has, by the way that any study goes
    whole = with_measurements(late, candidates, found.times_measured.values, truth)
    assert len(whole.data) == len(late.data) + 4
    np.testing.assert_allclose(found.standard_error_after, fisher_information(whole, truth).standard_error, rtol=1e-3)


@pytest.mark.parametrize(
    "settings, finding",
    [
        ({"number": 2, "criterion": "F"}, "known are D, A, E, c"),
        ({}, "one of the two"),
        ({"number": 2, "budget": 1.0}, "one of the two"),
        ({"number": 0}, "at least 1"),
        ({"budget": 0.5}, "cheapest measurement costs 1"),
        ({"budget": -1.0}, "above 0"),
        ({"number": 2, "criterion": "c"}, "needs a `target`"),
        ({"number": 2, "target": "b"}, "needs a `target`"),
        ({"number": 2, "criterion": "c", "target": "bb"}, "did you mean 'b'"),
        ({"number": 2, "criterion": "c", "target": {"b": 0.0}}, "no coefficient"),
        ({"number": 2, "replicates": 0}, "at least 1"),
        ({"number": 2, "scale": "decibel"}, "decibel"),
        ({"number": 2, "theta": {"aa": 1.0}}, "did you mean 'a'"),
    ],
)
def test_wrong_settings_are_named(settings, finding):
    study = polynomial_study(1)
    with pytest.raises(uq.InputError, match=finding):
        optimal_design(study, candidates=candidate_measurements(study, times=GRID), **settings)


def test_a_target_that_nothing_determines_is_refused():
    study = product_study()
    candidates = candidate_measurements(study, times=[1.0, 3.0], outputs=["y"])
    with pytest.raises(uq.InputError, match="not determined by all candidates"):
        optimal_design(study, candidates=candidates, number=2, criterion="c", target="k")
    found = optimal_design(study, candidates=candidates, number=2, criterion="c", target={"k": 1.0, "g": 1.0})
    # log(k g) from y = k g t at 1 and 2, and twice at 3
    assert found.criterion_after == pytest.approx(0.01 / (1 + 4 + 9 + 9), rel=1e-6)
