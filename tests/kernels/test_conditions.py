"""Which comparisons become conditions, which become switch times, and what stays as it is."""

import jax.numpy as jnp
import numpy as np
import pytest

from uqbench.kernels import Sources

from .harness import Case, Model, assert_outputs_agree, assert_rates_agree, derivatives

Q = {"k": 0.7, "start": 1.25, "width": 0.5, "period": 2.0, "w": np.array([0.3, 0.9])}
SHAPES = {name: np.shape(value) for name, value in Q.items()}


def model(rate, **more):
    return Model(Sources(lambda t, y, q: {"a": rate(t, y["a"], q)}, ("a",), SHAPES, **more))


def switches(rate):
    case = Case(model(rate), Q, {"a": 0.4}, 0.1)
    count = case.kernels.switches
    pairs = case.call("switch_times", 2 * count).reshape(count, 2) if count else np.zeros((0, 2))
    return case, pairs


def test_state_dependent_comparisons_are_frozen():

    def rate(t, a, q):
        return jnp.where(a > q["w"][0], q["k"] * a, a**2) + jnp.where(a <= q["w"][0], t * a, 0.0)

    made = model(rate)
    # the second comparison is the first one's opposite
    assert made.kernels.conditions == 1 and made.kernels.switches == 0
    assert "a" in made.kernels.jumps[0] and "w[0]" in made.kernels.jumps[0]
    case = Case(made, Q, {"a": 0.4}, 2.0)
    assert case.call("rate", 1) == pytest.approx(0.7 * 0.4)
    np.testing.assert_array_equal(case.call("modes", 1), 1.0)
    kept = Case(made, Q, {"a": 0.4}, 2.0, modes=[0.0])
    assert kept.call("rate", 1) == pytest.approx(0.4**2 + 2.0 * 0.4)
    assert abs(kept.call("roots", 1)) == pytest.approx(0.1)


def test_roots_of_conditions_and_events():
    def rate(t, a, q):
        return jnp.where(jnp.where(a > q["k"], a, t) * a < q["w"][1], 1.0, -1.0)

    events = [
        (lambda t, y, q: y["a"] ** 2 - q["start"] * t, lambda t, y, q: {"a": y["a"] * q["width"] + t}),
        (lambda t, y, q: jnp.where(y["a"] > 0, y["a"], t), None),
    ]
    made = model(rate, events=events)
    assert (made.kernels.conditions, made.kernels.events) == (2, 2)
    for a, t in [(0.4, 2.0), (0.9, 0.2), (-0.1, 0.3)]:
        case = Case(made, Q, {"a": a}, t)

        def roots(t, y, q):
            outer = jnp.where(y["a"] > q["k"], y["a"], t) * y["a"] - q["w"][1]
            return [*(root(t, y, q) for root, _ in events), q["k"] - y["a"], outer]

        assert_outputs_agree(case, "roots", roots, 4, time_first=True)

        def change(t, y, q):
            return [events[0][1](t, y, q)["a"], y["a"]]

        assert_outputs_agree(case, "change", change, 2, time_first=True)


def test_several_states_in_a_change():
    names = ("a", "b", "c")

    def rate(t, y, q):
        return {name: -y[name] for name in names}

    def change(t, y, q):
        return {"c": y["a"] * q["k"], "a": 0.0}

    made = Model(Sources(rate, names, {"k": ()}, events=[(lambda t, y, q: y["a"] - 1.0, change)]))
    case = Case(made, {"k": 2.0}, {"a": 1.0, "b": 2.0, "c": 3.0}, 0.0)
    np.testing.assert_array_equal(case.call("change", 3), [0.0, 2.0, 2.0])
    assert_outputs_agree(case, "change", lambda t, y, q: [0.0, y["b"], y["a"] * q["k"]], 3, time_first=True)


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (lambda t, a, q: jnp.where(t > q["start"], a, 0.0), [(1.25, 0)]),
        (lambda t, a, q: jnp.where((t - q["start"]) / q["k"] <= q["width"], a, 0.0), [(1.25 + 0.35, 0)]),
        (lambda t, a, q: (t >= q["start"]) * (t < q["start"] + q["width"]) * a, [(1.25, 0), (1.75, 0)]),
        (lambda t, a, q: jnp.where(jnp.abs(t - q["start"]) < q["width"], a, 0.0),
         [(0.75, 0), (1.25, 0), (1.75, 0)]),
        (lambda t, a, q: jnp.maximum(t - q["start"], 0.0) * a, [(1.25, 0)]),
        (lambda t, a, q: jnp.sign(t - q["start"]) * a, [(1.25, 0)]),
        (lambda t, a, q: jnp.where(jnp.mod(t - q["start"], q["period"]) < q["width"], a, 0.0), [(1.25, 2), (1.75, 2)]),
        (lambda t, a, q: jnp.where(t % 24.0 < q["width"], a, 0.0), [(0, 24), (0.5, 24)]),
        (lambda t, a, q: jnp.where(jnp.mod(q["start"] - t, 3.0) < 1.0, a, 0.0), [(1.25, 3), (0.25, 3)]),
        (lambda t, a, q: jnp.where(t - q["period"] * jnp.floor(t / q["period"]) < 0.5, a, 0.0), [(0, 2), (0.5, 2)]),
        (lambda t, a, q: jnp.where(t // q["period"] < 3, a, 0.0), [(0, 2)]),
        (lambda t, a, q: jnp.floor(q["k"] * t + 0.5) * a, [(-0.5 / 0.7, 1 / 0.7)]),
        (lambda t, a, q: jnp.round(t) * a, [(0.5, 1)]),
        (lambda t, a, q: jnp.interp(t, jnp.array([0.0, 1.0, 3.0]), jnp.array([0.0, 2.0, 1.0])) * a,
         [(0, 0), (1, 0), (3, 0)]),
        (lambda t, a, q: jnp.where((q["k"] > 0.5) & (t < 4), a, 0.0), [(4, 0)]),
        (lambda t, a, q: jnp.where(jnp.where(q["k"] > 0.5, t, 2 * t) > 3, a, 0.0), [(3, 0), (1.5, 0)]),
    ],
)  # fmt: skip
def test_switch_times(rate, expected):
    case, pairs = switches(rate)
    assert case.kernels.conditions == 0

    def modulo(pair):
        return (round(float(np.mod(pair[0], pair[1])), 9) % pair[1], pair[1]) if pair[1] else (round(pair[0], 9), 0.0)

    found = {modulo((first, round(period, 9))) for first, period in pairs}
    assert found == {modulo((first, round(period, 9))) for first, period in expected}
    assert len(pairs) == len(found)
    assert_rates_agree(case)
    # nothing else jumps: between two switches the rate moves little
    times = np.linspace(0, 9, 4001)
    ends = np.array([Case(case.model, Q, {"a": 0.4}, t).call("rate", 1)[0] for t in times])
    for jump in np.nonzero(np.abs(np.diff(ends)) > 0.02)[0]:
        lower, upper = times[jump], times[jump + 1]
        inside = [
            first if not period else first + period * np.ceil((lower - first) / period - 1e-9)
            for first, period in pairs
        ]
        assert any(lower - 1e-9 <= time <= upper + 1e-9 for time in inside)


def test_switch_times_move_with_the_parameters():

    def rate(t, a, q):
        return jnp.where(jnp.mod(t - q["start"], q["period"] * q["k"]) < q["width"], a, 0.0)

    case, pairs = switches(rate)
    known = case.model.flat(lambda t, y, q: [q["start"] + q["width"] * (k == 1) for k in range(2)])
    slopes = np.asarray(derivatives(known, *case.point())[1])[:, 1:]
    found = case.dense("switch", case.call("switch_variation", case.count("switch")), (4, case.p))
    order = np.argsort(pairs[:, 0])
    np.testing.assert_allclose(found[0::2][order], slopes)
    np.testing.assert_allclose(found[1::2], [[2.0, 0, 0, 0.7, 0, 0]] * 2)


@pytest.mark.parametrize(
    "rate",
    [
        lambda t, a, q: jnp.where(jnp.sin(t) > 0.5, a, 0.0),
        lambda t, a, q: jnp.where(t * t > q["k"], a, 0.0),
        lambda t, a, q: jnp.where(t + a > q["k"], a, 0.0),
        lambda t, a, q: jnp.where(jnp.exp(-(t % 2.0)) < 0.5, a, 0.0),
        lambda t, a, q: jnp.maximum(jnp.sin(t), 0.5) * a,
    ],
)
def test_what_is_not_affine_in_time_is_a_condition(rate):
    made = model(rate)
    assert made.kernels.conditions == 1
    assert_rates_agree(Case(made, Q, {"a": 0.4}, 1.1))


def test_a_sign_has_a_border_on_either_side():
    made = model(lambda t, a, q: jnp.sign(a - q["k"]) * a)
    assert made.kernels.conditions == 2
    assert_rates_agree(Case(made, Q, {"a": 0.4}, 1.1))


@pytest.mark.parametrize(
    "rate",
    [
        lambda t, a, q: jnp.where(q["k"] > 0.5, a, a**2),
        lambda t, a, q: jnp.maximum(a, q["k"]) + jnp.abs(a - 0.2) + jnp.floor(3 * a) + jnp.clip(a, 0, 1),
        lambda t, a, q: jnp.where(a == q["k"], 1.0, a) + jnp.logaddexp(a, t),
        lambda t, a, q: q["w"][jnp.floor(a).astype(int)] * a,
    ],
)
def test_what_stays_as_it_is(rate):
    made = model(rate)
    assert made.kernels.conditions == made.kernels.switches == 0
    assert made.kernels.roots == made.kernels.modes == made.kernels.switch_times == 0
    assert made.kernels.jumps == ()
    assert_rates_agree(Case(made, Q, {"a": 0.4}, 1.1))


@pytest.mark.slow
def test_long_sums_and_the_digest():
    def rate(t, a, q):
        steps = sum((jnp.where(t > k + q["start"], a, 0.0) for k in range(400)), 0.0)
        return steps + jnp.where(sum((t * q["k"] for _ in range(800)), a) > 1.0, 1.0, 0.0)

    one, same, fewer = model(rate), model(rate), Model(model(rate).sources, [("k", 0)])
    assert (one.kernels.switches, one.kernels.conditions) == (400, 1)
    assert one.kernels.digest == same.kernels.digest != fewer.kernels.digest


def test_time_that_only_switches_is_no_use_of_time():
    assert not model(lambda t, a, q: jnp.where(t % 2.0 > q["k"], a, 0.0)).kernels.uses_time
    assert not model(lambda t, a, q: jnp.floor(t) * a).kernels.uses_time
    assert model(lambda t, a, q: (t % 2.0) * a).kernels.uses_time


@pytest.mark.parametrize("step", [jnp.floor, jnp.round, jnp.ceil])
def test_jumps_that_are_not_located_are_known(step):
    assert model(lambda t, a, q: step(jnp.sin(t)) * a).kernels.unlocated
    assert not model(lambda t, a, q: step(t) * a).kernels.unlocated
