import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import uqbench as uq
from studies.product_rate import study as product_rate
from uqbench.identifiability import fisher_information
from uqbench.identifiability.directions import Directions, exact_name, rounded_name
from uqbench.identifiability.sensitivities import Scale, Sensitivities
from uqbench.identifiability.sparse_bases import Vector, integers, sparsest_basis
from uqbench.identifiability.spectrum import singular_values, spectrum_of

POSITIVE = uq.LogNormal(median=1.0, sigma=1.0)


def study_of(simulate, names, prior=POSITIVE):
    """What `simulate` gives at three times, with noise .1."""
    space = uq.Space({name: uq.epistemic(prior) for name in names})
    model = uq.Model.from_function(space, simulate, {"y": ""}, {"y": uq.Normal("y", 0.1)})
    return uq.Study("planted", model, {"a": uq.Design([1.0, 2.0, 5.0])})


def flat(result):
    return set(result.combination.values[result.kind == "flat"])


def test_of_a_product_the_product_is_known_and_the_ratio_changes_nothing():
    result = fisher_information(product_rate)
    assert result.attrs["rank"] == 1
    assert result.combination.values.tolist() == ["k*g", "k/g"]
    assert result.kind.values.tolist() == ["determined", "flat"] and result.exact.all()
    assert result.meaning.values[1] == "k/g changes nothing"
    assert result.function.values.tolist() == ["k*g"]
    # Normal noise: the information on the logarithm of the product is the sum of (y / sd)^2
    np.testing.assert_allclose(result.function_standard_error, result.eigenvalue[:1].values ** -0.5 * 2**0.5, rtol=1e-9)


def test_of_the_steady_state_of_secretion_the_ratio_is_known():
    def steady(theta, design, key):
        return {"y": theta["s"] * 10.0 / theta["k"] + 0 * design.times}

    result = fisher_information(study_of(steady, ("s", "k")), {"s": 1.2, "k": 0.5})
    assert result.combination.values.tolist() == ["s/k", "s*k"]
    # y = 24 at three times
    assert float(result.function_standard_error[0]) == pytest.approx(0.1 / (24 * 3**0.5), rel=1e-9)


def test_a_sum_is_not_taken_for_a_product_where_both_fit():
    """a + b at a = b: the derivatives at the point by itself are those of a*b."""

    def total(theta, design, key):
        return {"y": (theta["a"] + theta["b"]) * design.times}

    result = fisher_information(study_of(total, ("a", "b")), {"a": 1.0, "b": 1.0})
    assert result.function.values.tolist() == ["a + b"] and bool(result.function_exact[0])
    assert flat(result) == {"a - b"}


def test_what_is_neither_is_said_to_be_approximate():
    def mixed(theta, design, key):
        return {"y": (theta["a"] + theta["b"] ** 2) * design.times}

    result = fisher_information(study_of(mixed, ("a", "b")), {"a": 1.0, "b": 0.6})
    assert not result.exact[1] and result.meaning.values[1].endswith("to first order at these values")
    # d log y: (1, .72) / 1.36
    assert flat(result) == {"about b/a**0.72"} and result.function.values.tolist() == ["about a*b**0.72"]


def test_flat_directions_are_the_sparsest_and_each_parameter_without_effect_has_its_own():
    def terms(theta, design, key):
        k, g, h, a, b = (theta[name] for name in ("k", "g", "h", "a", "b"))
        return {"y": k * g**2 / h + a / b * design.times**2 + theta["c"] * design.times}

    names = ("k", "g", "h", "a", "b", "c", "unused")
    theta = dict(zip(names, (0.7, 1.3, 2.1, 0.4, 0.9, 1.7, 1.0), strict=True))
    result = fisher_information(study_of(terms, names), theta)
    assert result.attrs["rank"] == 3
    assert set(result.function.values) == {"k*g**2/h", "a/b", "c"} and result.function_exact.all()
    assert "unused" in flat(result) and "a*b" in flat(result) and len(flat(result)) == 4
    assert set(result.combination.values[result.kind == "flat"]) & {"k**2/g", "k*h", "g*h**2"}


def test_on_the_natural_scale_directions_are_sums():
    def difference(theta, design, key):
        return {"y": (theta["a"] - 2 * theta["b"]) * design.times}

    result = fisher_information(study_of(difference, ("a", "b"), uq.Normal(0.0, 3.0)), {"a": 0.3, "b": -0.4})
    assert result.function.values.tolist() == ["a - 2*b"] and flat(result) == {"2*a + b"}


def test_a_direction_that_is_flat_at_one_point_only_is_not_exact():
    def valley(theta, design, key):
        return {"y": (theta["k"] - 1.0) ** 2 + theta["g"] * design.times}

    result = fisher_information(study_of(valley, ("k", "g")), {"k": 1.0, "g": 2.0})
    assert result.combination.values[1] == "k" and not result.exact[1]


def test_less_known_than_from_the_prior_is_sloppy():
    def response(theta, design, key):
        return {"y": theta["a"] * design.times + 1e-3 * theta["b"]}

    result = fisher_information(study_of(response, ("a", "b")), {"a": 1.0, "b": 1.0})
    assert result.kind.values.tolist() == ["determined", "sloppy"]
    # least squares with a slope and an intercept
    jacobian = np.stack([[1.0, 2.0, 5.0], [1e-3] * 3], axis=1) / 0.1
    covariance = np.linalg.inv(jacobian.T @ jacobian)
    np.testing.assert_allclose(result.cramer_rao, np.sqrt(np.diag(covariance)), rtol=1e-9)
    # normal priors of variance 1 in logarithms
    posterior = np.linalg.inv(jacobian.T @ jacobian + np.eye(2))
    np.testing.assert_allclose(result.prior_sd, 1.0, rtol=1e-9)
    np.testing.assert_allclose(result.shrinkage, 1 - np.diag(posterior), rtol=1e-9)


def test_a_prior_without_a_variance_is_narrowed_by_all():
    result = fisher_information(study_of(lambda theta, design, key: {"y": theta["a"] * design.times}, ("a",),
                                         uq.Cauchy(1.0, 1.0)))  # fmt: skip
    assert np.isinf(result.prior_sd).all() and result.shrinkage.values.tolist() == [1.0]


@st.composite
def integer_spaces(draw):
    """Small integer vectors with few entries, in general position up to what is drawn."""
    count = draw(st.integers(3, 6))
    dimension = draw(st.integers(1, count - 1))
    entries = st.lists(st.integers(-2, 2), min_size=count, max_size=count)
    return np.array(draw(st.lists(entries, min_size=dimension, max_size=dimension)))


@given(integer_spaces())
def test_the_sparsest_basis_spans_the_space_with_no_more_entries(rows):
    values, vectors = singular_values(rows.astype(float))
    space = vectors[values > 1e-9 * max(values[0], 1.0)]
    found = sparsest_basis(space, np.full(rows.shape[1], 1e-12))
    assert len(found) == len(space)
    if found:
        entries = np.stack([vector.entries for vector in found])
        assert np.linalg.matrix_rank(entries, tol=1e-6) == len(space)
        np.testing.assert_allclose(entries @ space.T @ space, entries, atol=1e-9)
        independent = [row for k, row in enumerate(rows) if np.linalg.matrix_rank(rows[: k + 1]) > (
            np.linalg.matrix_rank(rows[:k]) if k else 0)]  # fmt: skip
        assert np.count_nonzero(entries) <= np.count_nonzero(independent)


def test_integers_are_read_only_where_the_error_allows():
    third = np.array([1 / 3, -1.0, 2 / 3, 0.0])
    assert integers(Vector(third, np.full(4, 1e-9))).tolist() == [1, -3, 2, 0]
    assert integers(Vector(third + 1e-5 * (third > 0.5), np.full(4, 1e-9))) is None
    assert integers(Vector(third, np.full(4, 0.1))) is None


def test_names_are_formulas():
    logarithmic = np.array([True, True, False])
    assert exact_name(np.array([2, -1, 0]), ("k", "g", "m"), logarithmic) == "k**2/g"
    assert exact_name(np.array([1, 0, -1]), ("k", "g", "m"), logarithmic) == "log(k) - m"
    assert rounded_name(np.array([-0.5, 1.0, 0.0]), ("k", "g", "m"), logarithmic) == "about g/k**0.5"
    assert rounded_name(np.array([-0.5, 0.0, 1.0]), ("k", "g", "m"), logarithmic) == "about m - 0.5*log(k)"
    assert rounded_name(np.array([1.0, 1e-5, 0.0]), ("k", "g", "m"), logarithmic) == "k"
    many = rounded_name(np.linspace(0.5, 1.0, 8), tuple("abcdefgh"), np.full(8, True))
    assert many.endswith("and others")


def chain_initial(p, inputs):
    return {"x": jnp.ones(())}


def chain_rhs(t, y, p, inputs):
    return {"x": -p["k"] * p["g"] * y["x"]}


def chain_observe(y, p):
    return {"y": p["s"] * y["x"] / p["v"]}


def test_directions_of_a_solve_are_exact_within_its_error():
    space = uq.Space({name: uq.epistemic(POSITIVE) for name in ("k", "g", "s", "v")})
    model = uq.Model(space, uq.Ode(chain_initial, chain_rhs), chain_observe, {"y": ""}, {"y": uq.Normal("y", 0.1)})
    study = uq.Study("chain", model, {"a": uq.Design(np.linspace(0.5, 8.0, 12))})
    result = fisher_information(study, {"k": 0.8, "g": 0.5, "s": 1.3, "v": 2.2})
    assert set(result.function.values) == {"k*g", "s/v"} and result.function_exact.all()
    assert flat(result) == {"k/g", "s*v"} and result.exact.values[2:].all()


def monomials_and_sums(rng, count):
    """Gradients in logarithms of random products, sums and saturating rates, as a function of the values."""
    rows = []
    for _ in range(int(rng.integers(1, count + 1))):
        kind, (i, j, *_), scale = rng.integers(3), rng.permutation(count), 10.0 ** rng.integers(-4, 5)
        exponents = rng.integers(-2, 3, count) * (rng.random(count) < 0.5)
        rows.append((kind, i, j, scale, exponents))

    def gradients(values):
        found = []
        for kind, i, j, scale, exponents in rows:
            one, other = np.eye(count)[[i, j]]
            if kind == 0:
                found.append(scale * np.prod(values**exponents) * exponents)
            elif kind == 1:
                found.append(scale * (values[i] * one + values[j] * other))
            else:
                bound = values[i] / (values[i] + values[j])
                found.append(scale * bound * (1 - bound) * (one - other) + scale * bound * other)
        return np.array(found)

    return gradients


def row_space(gradients, values):
    """Orthonormal rows, whatever the sizes of the gradients, and the rest."""
    found = gradients(values)
    length = np.linalg.norm(found, axis=1, keepdims=True)
    _, singular, vectors = np.linalg.svd(np.vstack([found / np.where(length > 0, length, 1.0), 0 * found[:1]]))
    rank = int(np.sum(singular > 1e-9))
    return vectors[:rank], vectors[rank:]


@pytest.mark.parametrize("noise", [0.0, 1e-9])
@pytest.mark.parametrize("seed", range(25))
def test_what_is_called_exact_holds_far_away(seed, noise):
    """At values that make accidents likely: with equal ones, sums and products have the same gradients."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 6))
    gradients, names = monomials_and_sums(rng, count), tuple("abcde"[:count])
    values = rng.choice([0.5, 1.0, 2.0], count)
    scale = Scale(names, dict(zip(names, jnp.asarray(values), strict=True)), np.full(count, True))

    def root(vector, error):
        found = gradients(np.exp(vector))
        size = np.linalg.norm(found, axis=1, keepdims=True)
        return found + error * size * rng.normal(size=found.shape)

    given = Sensitivities(scale, root(scale.start, noise), lambda x: root(x, noise), lambda x: root(x, 1e-2 * noise))
    spectrum = spectrum_of(given.root, lambda: given.finer_at(scale.start), given.size)
    directions = Directions(given, spectrum)
    assert len(directions.flat) <= count - spectrum.rank
    if spectrum.rank != len(row_space(gradients, values)[0]):
        # the error of the solves hides the faintest, and what is faint is not compared
        return
    far = values * np.exp(rng.normal(size=count))
    for named in filter(lambda named: named.exact, [*directions.flat, *directions.determined]):
        is_flat = any(named is each for each in directions.flat)
        # a sum has the gradient of the values; exponents are the same everywhere
        moved = (far / values) ** (-1 if is_flat else 1) if {"+", "-"} & set(named.text) else 1.0
        weights = named.weights * moved
        determined, flat = row_space(gradients, far)
        if len(determined) == spectrum.rank:
            off = np.linalg.norm((determined if is_flat else flat) @ weights) / np.linalg.norm(weights)
            assert off < 1e-6, named.text


def test_the_names_are_in_the_tree_and_on_the_page(tmp_path):
    tree = uq.identify(product_rate)
    assert tree["fisher"].function.values.tolist() == ["k*g"]
    assert tree["structure"].combination.values.tolist() == ["k*g", "k*g"]
    stored = uq.load(uq.save(tree, tmp_path / "tree.zarr"))
    uq.report(product_rate, stored, path=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "k/g changes nothing" in page and "What is determined of them is k*g." in page
