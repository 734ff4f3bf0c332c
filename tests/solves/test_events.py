"""Changes at times that the states decide, jumps of the right-hand side, and where a solve begins.

Closed forms throughout; their derivatives are by a complex step, with the number of events that have happened held
fixed, as it is for all small changes of the parameters.
"""

import time

import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq

from .problems import DERIVATIVES, complex_step, model, relative_to_largest, slopes, solved

RTOL = 1e-6
every_way = pytest.mark.parametrize("way", DERIVATIVES)
# A solve that never ends is a failure of its test, not of the test session: none of these needs a second once compiled.
LONGEST = 60.0


def assert_slopes(found, exact, tolerance=1e-5):
    assert found.result == 0, uq.RESULTS[found.result]
    assert relative_to_largest(found.derivatives, exact).max() < tolerance


# --- a bouncing ball: an assignment to one state that depends on the other parameters


def ball_initial(p, inputs):
    return {"height": p["height0"], "speed": p["speed0"]}


def ball_rhs(t, y, p, inputs):
    return {"height": y["speed"], "speed": -p["g"]}


def on_the_ground(t, y, p, inputs):
    return y["height"]


def bounce(t, y, p, inputs):
    return {"speed": -p["restitution"] * y["speed"]}


BOUNCE = uq.Event(on_the_ground, bounce, "falling")
BALL = {"height0": 2.0, "speed0": 1.0, "g": 9.81, "restitution": 0.8}
BALL_TIMES = np.array([0.3, 0.7, 1.0, 1.5, 2.2, 2.9, 3.6, 4.1])


def ball(theta, times=BALL_TIMES):
    """Height and speed; the ball lands with speed w, and flies 2 e^n w / g between its n-th bounce and the next."""
    g, e = theta["g"], theta["restitution"]
    impact = np.sqrt(theta["speed0"] ** 2 + 2 * g * theta["height0"])
    found = []
    for t in times:
        start, height, speed = 0.0, theta["height0"], theta["speed0"]
        landing, speed_up = (theta["speed0"] + impact) / g, impact
        while np.real(landing) < t:
            speed_up = e * speed_up
            start, height, speed = landing, 0.0, speed_up
            landing = landing + 2 * speed_up / g
        since = t - start
        found.append([height + speed * since - g * since**2 / 2, speed - g * since])
    return np.array(found)


def bouncing(**settings) -> uq.Model:
    return model(ball_initial, ball_rhs, BALL, ("height", "speed"), events=(BOUNCE,), **settings)


def test_a_ball_bounces_at_the_right_times_to_the_right_heights():
    np.testing.assert_allclose(solved(bouncing(), BALL, uq.Design(BALL_TIMES)), ball(BALL), rtol=RTOL, atol=1e-7)


@pytest.mark.parametrize("method", ["explicit", "implicit"])
def test_a_ball_bounces_under_either_method(method):
    found = solved(bouncing(method=method), BALL, uq.Design(BALL_TIMES))
    np.testing.assert_allclose(found, ball(BALL), rtol=RTOL, atol=1e-7)


def test_bounces_are_not_missed_where_nobody_looks():
    found = solved(bouncing(), BALL, uq.Design(BALL_TIMES[-1:]))
    np.testing.assert_allclose(found, ball(BALL)[-1:], rtol=RTOL)


@every_way
def test_slopes_of_a_bouncing_ball(way):
    found = slopes(bouncing(), BALL, uq.Design(BALL_TIMES), tuple(BALL), way)
    assert_slopes(found, complex_step(ball, BALL, tuple(BALL)))


def test_a_ball_thrown_from_the_ground_does_not_bounce_before_it_flies():
    """The root is zero at the start, but it rises."""
    theta = BALL | {"height0": 0.0, "speed0": 5.0}
    times = np.array([0.1, 0.5, 1.0, 1.1, 2.0])
    thrown = model(ball_initial, ball_rhs, theta, ("height", "speed"), events=(BOUNCE,))
    np.testing.assert_allclose(solved(thrown, theta, uq.Design(times)), ball(theta, times), rtol=RTOL, atol=1e-8)


def test_a_batch_of_balls_bounces_each_for_itself():
    heights = np.array([0.5, 1.0, 2.0, 8.0])
    thetas = {name: np.full(4, value) for name, value in BALL.items()} | {"height0": heights}
    times = np.array([0.5, 1.0, 2.0])
    run = uq.evaluate_many(bouncing(), thetas, uq.Design(times))
    assert np.all(np.asarray(run.result) == 0)
    exact = [ball(BALL | {"height0": height}, times)[:, 0] for height in heights]
    np.testing.assert_allclose(run.outputs["height"], exact, rtol=RTOL, atol=1e-7)


# --- events without end


def ended(under_test: uq.Model, theta, at: float) -> uq.Run:
    """A run that must come to an end."""
    began = time.monotonic()
    run = uq.evaluate(under_test, theta, uq.Design([at]))
    code = int(run.result)
    assert time.monotonic() - began < LONGEST
    assert code in uq.RESULTS
    return run


def test_a_ball_that_bounces_infinitely_often_is_a_result_code():
    """With restitution .5 the bounces end at the time 3 w / g, here about 2.2."""
    run = ended(bouncing(), BALL | {"restitution": 0.5}, 10.0)
    assert int(run.result) != 0
    assert np.isnan(np.asarray(run.outputs["height"])).all()


def growing_initial(p, inputs):
    return {"y": p["y0"]}


def growing_rhs(t, y, p, inputs):
    return {"y": p["rate"] + 0 * y["y"]}


def at_one(t, y, p, inputs):
    return y["y"] - 1.0


def hardly_below_one(t, y, p, inputs):
    return {"y": p["reset"]}


GROWING = {"y0": 0.0, "rate": 1.0, "reset": 1.0}


@pytest.mark.parametrize("reset", [1 - 1e-15, 1 - 1e-12], ids=["by rounding", "by little"])
def test_an_event_that_fires_for_ever_at_one_instant_is_a_result_code(reset):
    firing = model(growing_initial, growing_rhs, GROWING, "y", events=(uq.Event(at_one, hardly_below_one, "rising"),))
    run = ended(firing, GROWING | {"reset": reset}, 2.0)
    assert int(run.result) != 0


def sliding_rhs(t, y, p, inputs):
    return {"y": jnp.where(y["y"] > 0.0, -p["down"], p["up"])}


def test_a_state_that_slides_along_a_jump_ends():
    """Both sides push it to zero: it stays there, or the solve says that it cannot."""
    theta = {"y0": 1.0, "down": 1.0, "up": 2.0}
    run = ended(model(growing_initial, sliding_rhs, theta, "y"), theta, 3.0)
    if int(run.result) == 0:
        np.testing.assert_allclose(run.outputs["y"], 0.0, atol=1e-6)


# --- a dose whenever the drug has fallen to a threshold


def drug_initial(p, inputs):
    return {"C": p["C0"]}


def drug_rhs(t, y, p, inputs):
    return {"C": -p["k"] * y["C"]}


def too_little(t, y, p, inputs):
    return y["C"] - p["low"]


def one_more(t, y, p, inputs):
    return {"C": y["C"] + p["dose"]}


def to_the_top(t, y, p, inputs):
    return {"C": p["low"] + p["dose"]}


DRUG = {"C0": 3.0, "k": 0.4, "low": 1.0, "dose": 2.5}
DRUG_TIMES = np.array([1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 24.0])


def drug(theta, times=DRUG_TIMES):
    first = np.log(theta["C0"] / theta["low"]) / theta["k"]
    top = theta["low"] + theta["dose"]
    period = np.log(top / theta["low"]) / theta["k"]
    found = []
    for t in times:
        since = t - first
        if np.real(since) < 0:
            found.append(theta["C0"] * np.exp(-theta["k"] * t))
        else:
            whole = np.floor(np.real(since) / np.real(period))
            found.append(top * np.exp(-theta["k"] * (since - whole * period)))
    return np.array(found)[:, None]


@pytest.mark.parametrize("change", [one_more, to_the_top], ids=["addition", "assignment"])
def test_a_dose_at_a_threshold(change):
    dosed = model(drug_initial, drug_rhs, DRUG, "C", events=(uq.Event(too_little, change, "falling"),))
    np.testing.assert_allclose(solved(dosed, DRUG, uq.Design(DRUG_TIMES)), drug(DRUG), rtol=RTOL)


@every_way
@pytest.mark.parametrize("change", [one_more, to_the_top], ids=["addition", "assignment"])
def test_slopes_of_a_dose_at_a_threshold(change, way):
    dosed = model(drug_initial, drug_rhs, DRUG, "C", events=(uq.Event(too_little, change, "falling"),))
    found = slopes(dosed, DRUG, uq.Design(DRUG_TIMES), tuple(DRUG), way)
    assert_slopes(found, complex_step(drug, DRUG, tuple(DRUG)))


def test_a_threshold_in_a_very_small_unit():
    """The time of a crossing is found to rounding whatever the unit of the states."""
    theta = DRUG | {name: 1e-12 * DRUG[name] for name in ("C0", "low", "dose")}
    dosed = model(drug_initial, drug_rhs, theta, "C", events=(uq.Event(too_little, one_more, "falling"),))
    np.testing.assert_allclose(solved(dosed, theta, uq.Design(DRUG_TIMES)), drug(theta), rtol=RTOL)


@pytest.mark.parametrize("above", [1e-15, 1e-12, 1e-9, 1e-3])
def test_an_event_right_after_the_start(above):
    """A state that begins a little above its threshold is given its dose at once."""
    theta = DRUG | {"C0": 1.0 + above}
    dosed = model(drug_initial, drug_rhs, DRUG, "C", events=(uq.Event(too_little, one_more, "falling"),))
    np.testing.assert_allclose(solved(dosed, theta, uq.Design(DRUG_TIMES)), drug(theta), rtol=RTOL)


def given_doses(p, inputs):
    return {"C": (jnp.array([5.0]), p["C0"])}


def test_a_dose_that_crosses_a_threshold_upwards_is_no_falling_event():
    """Threshold 1 reached at 2.75, dose to 3.5; the scheduled dose at t = 5 comes on top, and shifts what follows."""
    dosed = model(drug_initial, drug_rhs, DRUG, "C", doses=given_doses,
                  events=(uq.Event(too_little, one_more, "falling"),))  # fmt: skip
    first = np.log(3.0) / 0.4
    at_dose = 3.5 * np.exp(-0.4 * (5.0 - first)) + 3.0
    again = 5.0 + np.log(at_dose) / 0.4
    times = np.array([2.0, 4.0, 6.0, again - 0.1, again + 0.1])
    exact = np.array(
        [
            3.0 * np.exp(-0.4 * 2.0),
            3.5 * np.exp(-0.4 * (4.0 - first)),
            at_dose * np.exp(-0.4),
            np.exp(0.4 * 0.1),
            3.5 * np.exp(-0.4 * 0.1),
        ]
    )
    np.testing.assert_allclose(solved(dosed, DRUG, uq.Design(times))[:, 0], exact, rtol=RTOL)


# --- a neuron that is set back to zero, and directions


def neuron_rhs(t, y, p, inputs):
    return {"y": p["current"] - y["y"], "spikes": 0.0}


def neuron_initial(p, inputs):
    return {"y": 0.0, "spikes": 0.0}


def threshold_reached(t, y, p, inputs):
    return y["y"] - p["threshold"]


def set_back(t, y, p, inputs):
    return {"y": 0.0, "spikes": y["spikes"] + 1}


def test_a_neuron_fires_at_its_rate():
    """Integrate and fire: y = I (1 - exp(-t)) reaches the threshold after log(I / (I - threshold))."""
    theta = {"current": 2.0, "threshold": 1.0}
    firing = model(neuron_initial, neuron_rhs, theta, ("y", "spikes"),
                   events=(uq.Event(threshold_reached, set_back, "rising"),))  # fmt: skip
    times = np.array([0.5, 1.0, 10.0, 50.0, 200.0])
    period = np.log(2.0)
    spikes = np.floor(times / period)
    exact = np.stack([-2.0 * np.expm1(-(times - spikes * period)), spikes], axis=-1)
    np.testing.assert_allclose(solved(firing, theta, uq.Design(times)), exact, rtol=1e-5, atol=1e-6)


def turning_initial(p, inputs):
    return {"x": 1.0, "v": 0.0, "crossings": 0.0}


def turning_rhs(t, y, p, inputs):
    return {"x": p["w"] * y["v"], "v": -p["w"] * y["x"], "crossings": 0.0}


def x_is_zero(t, y, p, inputs):
    return y["x"]


def count_one(t, y, p, inputs):
    return {"crossings": y["crossings"] + 1.0}


@pytest.mark.parametrize("direction", ["rising", "falling", "both"])
def test_only_crossings_in_the_direction_count(direction):
    """x = cos t falls through zero at pi/2 + 2 pi n and rises at 3 pi/2 + 2 pi n."""
    theta, times = {"w": 1.0}, np.array([1.0, 2.0, 4.0, 5.0, 8.0, 30.0, 100.0])
    counting = model(turning_initial, turning_rhs, theta, ("x", "v", "crossings"),
                     events=(uq.Event(x_is_zero, count_one, direction),))  # fmt: skip
    falling = np.floor((times + 3 * np.pi / 2) / (2 * np.pi))
    rising = np.floor((times + np.pi / 2) / (2 * np.pi))
    exact = {"rising": rising, "falling": falling, "both": rising + falling}[direction]
    found = solved(counting, theta, uq.Design(times))
    np.testing.assert_allclose(found[:, 0], np.cos(times), atol=1e-5)
    np.testing.assert_allclose(found[:, 2], exact, rtol=1e-9)


def after_a_while(t, y, p, inputs):
    return t - p["when"]


@every_way
def test_an_event_at_a_time(way):
    """The root may read the time and nothing else; the change of the state then is a dose at a parameter's time."""
    theta = DRUG | {"when": 2.0}
    dosed = model(drug_initial, drug_rhs, theta, "C", events=(uq.Event(after_a_while, one_more, "rising"),))

    def closed(theta):
        late = DRUG_TIMES - theta["when"]
        added = np.where(np.real(late) > 0, theta["dose"] * np.exp(-theta["k"] * late), 0.0)
        return (theta["C0"] * np.exp(-theta["k"] * DRUG_TIMES) + added)[:, None]

    times = np.delete(DRUG_TIMES, 1)  # an observation at the event itself is left open here
    found = slopes(dosed, theta, uq.Design(times), ("C0", "k", "dose", "when"), way)
    exact = complex_step(closed, theta, ("C0", "k", "dose", "when"))
    np.testing.assert_allclose(found.values, np.delete(closed(theta), 1, axis=0), rtol=RTOL)
    assert_slopes(found, np.delete(exact, 1, axis=0))


# --- two events at once


def pair_initial(p, inputs):
    return {"A": p["C0"], "B": p["C0"]}


def pair_rhs(t, y, p, inputs):
    return {"A": -p["k"] * y["A"], "B": -p["k"] * y["B"]}


def little_of(name):
    def root(t, y, p, inputs):
        return y[name] - p["low"]

    return root


def more_of(name):
    def change(t, y, p, inputs):
        return {name: y[name] + p["dose"]}

    return change


def test_two_events_at_once_both_happen():
    """Two drugs with one clock reach their thresholds together, every time."""
    events = tuple(uq.Event(little_of(name), more_of(name), "falling") for name in "AB")
    both = model(pair_initial, pair_rhs, DRUG, "AB", events=events)
    found = solved(both, DRUG, uq.Design(DRUG_TIMES))
    np.testing.assert_allclose(found, np.repeat(drug(DRUG), 2, axis=1), rtol=RTOL)


@every_way
def test_slopes_of_two_events_at_once(way):
    events = tuple(uq.Event(little_of(name), more_of(name), "falling") for name in "AB")
    both = model(pair_initial, pair_rhs, DRUG, "AB", events=events)
    found = slopes(both, DRUG, uq.Design(DRUG_TIMES), tuple(DRUG), way)
    assert_slopes(found, np.repeat(complex_step(drug, DRUG, tuple(DRUG)), 2, axis=1))


def test_two_doses_by_events_at_once_to_one_state_add_up():
    """Neither is lost: two roots of the same threshold, each with its own dose."""
    half = {**DRUG, "dose": DRUG["dose"] / 2}
    events = (uq.Event(too_little, one_more, "falling"), uq.Event(little_of("C"), more_of("C"), "falling"))
    twice = model(drug_initial, drug_rhs, half, "C", events=events)
    np.testing.assert_allclose(solved(twice, half, uq.Design(DRUG_TIMES)), drug(DRUG), rtol=RTOL)


# --- right-hand sides that jump where a state crosses a threshold


def two_speeds_rhs(t, y, p, inputs):
    return {"y": jnp.where(y["y"] > p["threshold"], -p["above"], -p["below"])}


TWO_SPEEDS = {"y0": 3.0, "threshold": 1.0, "above": 1.0, "below": 0.2}
TWO_SPEEDS_TIMES = np.array([0.5, 1.5, 3.0, 5.0, 6.5])


def two_speeds(theta):
    crossing = (theta["y0"] - theta["threshold"]) / theta["above"]
    before = theta["y0"] - theta["above"] * TWO_SPEEDS_TIMES
    after = theta["threshold"] - theta["below"] * (TWO_SPEEDS_TIMES - crossing)
    return np.where(np.real(crossing) > TWO_SPEEDS_TIMES, before, after)[:, None]


def feedback_rhs(t, y, p, inputs):
    """Production switches from one rate to another where the product has reached a threshold."""
    return {"y": jnp.where(y["y"] > p["threshold"], p["above"], p["below"]) - p["k"] * y["y"]}


FEEDBACK = {"y0": 0.1, "threshold": 1.0, "above": 3.0, "below": 2.0, "k": 0.5}
FEEDBACK_TIMES = np.array([0.1, 0.3, 1.0, 2.0, 5.0])


def feedback(theta):
    k, low, high = theta["k"], theta["below"] / theta["k"], theta["above"] / theta["k"]
    crossing = -np.log((low - theta["threshold"]) / (low - theta["y0"])) / k
    before = low + (theta["y0"] - low) * np.exp(-k * FEEDBACK_TIMES)
    after = high + (theta["threshold"] - high) * np.exp(-k * (FEEDBACK_TIMES - crossing))
    return np.where(np.real(crossing) > FEEDBACK_TIMES, before, after)[:, None]


JUMPS = {
    "constant speeds": (two_speeds_rhs, TWO_SPEEDS, TWO_SPEEDS_TIMES, two_speeds),
    "production": (feedback_rhs, FEEDBACK, FEEDBACK_TIMES, feedback),
}


@pytest.mark.parametrize("case", JUMPS)
def test_a_jump_of_the_right_hand_side_at_a_threshold(case):
    rhs, theta, times, closed = JUMPS[case]
    found = solved(model(growing_initial, rhs, theta, "y"), theta, uq.Design(times))
    np.testing.assert_allclose(found, closed(theta), rtol=RTOL)


@every_way
@pytest.mark.parametrize("case", JUMPS)
def test_slopes_past_a_jump_of_the_right_hand_side(case, way):
    """They jump there as well (Rozenvasser 1967): the derivative by the threshold is not zero."""
    rhs, theta, times, closed = JUMPS[case]
    found = slopes(model(growing_initial, rhs, theta, "y"), theta, uq.Design(times), tuple(theta), way)
    assert_slopes(found, complex_step(closed, theta, tuple(theta)), 1e-4)


@every_way
def test_a_jump_that_the_author_names_as_an_event_without_a_change(way):
    stopped = model(growing_initial, feedback_rhs, FEEDBACK, "y", events=(uq.Event(threshold_reached),))
    found = slopes(stopped, FEEDBACK, uq.Design(FEEDBACK_TIMES), tuple(FEEDBACK), way)
    np.testing.assert_allclose(found.values, feedback(FEEDBACK), rtol=RTOL)
    assert_slopes(found, complex_step(feedback, FEEDBACK, tuple(FEEDBACK)))


def rectified_rhs(t, y, p, inputs):
    """A kink, not a jump: growth only above the threshold; continuous, so that slopes are as well."""
    return {"y": p["a"] + jnp.maximum(y["y"] - p["threshold"], 0.0)}


@every_way
def test_slopes_past_a_kink_of_the_right_hand_side(way):
    theta, times = {"y0": 0.5, "a": 1.0, "threshold": 1.5}, np.array([0.5, 1.5, 2.0, 3.0])

    def closed(theta):
        crossing = (theta["threshold"] - theta["y0"]) / theta["a"]
        before = theta["y0"] + theta["a"] * times
        after = theta["threshold"] + theta["a"] * np.expm1(times - crossing)
        return np.where(np.real(crossing) > times, before, after)[:, None]

    found = slopes(model(growing_initial, rectified_rhs, theta, "y"), theta, uq.Design(times), tuple(theta), way)
    np.testing.assert_allclose(found.values, closed(theta), rtol=RTOL)
    assert_slopes(found, complex_step(closed, theta, tuple(theta)))


# --- where a solve begins


def started(p, inputs):
    return p["start"]


@every_way
@pytest.mark.parametrize("start", [2.5, 1e-3, -1.0], ids=["later", "soon", "before the design"])
def test_a_start_that_is_a_parameter(start, way):
    theta, times = {"C0": 3.0, "k": 0.4, "start": start}, np.array([0.5, 1.0, 4.0, 9.0])
    prior = theta | {"start": 1.0}

    def closed(theta):
        late = times - theta["start"]
        return np.where(np.real(late) > 0, theta["C0"] * np.exp(-theta["k"] * late), theta["C0"])[:, None]

    found = slopes(model(drug_initial, drug_rhs, prior, "C", start=started), theta, uq.Design(times), tuple(theta), way)
    np.testing.assert_allclose(found.values, closed(theta), rtol=RTOL)
    assert_slopes(found, complex_step(closed, theta, tuple(theta)))


def forced_rhs(t, y, p, inputs):
    return {"C": jnp.cos(t) - p["k"] * y["C"]}


@every_way
def test_a_start_that_is_a_parameter_where_time_matters(way):
    """Forcing goes on by the clock of the design, not by the time since the start."""
    theta, times = {"C0": 3.0, "k": 0.4, "start": 2.0}, np.array([0.5, 3.0, 4.0, 9.0])

    def closed(theta):
        k, start = theta["k"], theta["start"]

        def particular(t):
            return (k * np.cos(t) + np.sin(t)) / (k**2 + 1)

        late = particular(times) + (theta["C0"] - particular(start)) * np.exp(-k * (times - start))
        return np.where(times > np.real(start), late, theta["C0"])[:, None]

    found = slopes(
        model(drug_initial, forced_rhs, theta, "C", start=started), theta, uq.Design(times), tuple(theta), way
    )
    np.testing.assert_allclose(found.values, closed(theta), rtol=RTOL)
    assert_slopes(found, complex_step(closed, theta, tuple(theta)))


# --- outputs that read the time and the inputs


def dated_observe(y, p, t, inputs):
    return {"per_weight": p["F"] * y["C"] / inputs["weight"], "clock": t + p["delay"]}


@every_way
def test_outputs_that_read_time_and_inputs(way):
    theta, times = {"C0": 3.0, "k": 0.4, "F": 0.7, "delay": 0.5}, np.array([0.0, 1.0, 4.0])
    design = uq.Design(times, inputs={"weight": 70.0})
    dated = model(drug_initial, drug_rhs, theta, ("per_weight", "clock"), observe=dated_observe)

    def closed(theta):
        scaled = theta["F"] * theta["C0"] * np.exp(-theta["k"] * times) / 70.0
        return np.stack([scaled, times + theta["delay"]], axis=-1)

    found = slopes(dated, theta, design, tuple(theta), way)
    np.testing.assert_allclose(found.values, closed(theta), rtol=RTOL)
    assert_slopes(found, complex_step(closed, theta, tuple(theta)))


# --- measured inputs


def measured_initial(p, inputs):
    return {"y": 0.0, "area": 0.0}


def measured_rhs(t, y, p, inputs):
    u = uq.interpolate(inputs["u_times"], inputs["u_values"])(t)
    return {"y": p["gain"] * u - p["k"] * y["y"], "area": u}


def tabled_rhs(t, y, p, inputs):
    u = uq.interpolate(inputs["u_times"], jnp.stack([p["u0"], p["u1"], p["u2"]]))(t)
    return {"y": u - p["k"] * y["y"], "area": u}


def piecewise_linear(knots, values, k, gain, times):
    """y and the area under the input, from one knot or observation to the next; the input is constant outside."""
    stops = np.unique(np.concatenate([knots[knots > 0], times]))
    stops = stops[stops <= max(times)]
    # values may be complex, so that the table is read by its weights
    weights = np.stack([np.interp(np.append(0.0, stops), knots, unit) for unit in np.eye(len(knots))], axis=-1)
    level = weights @ values
    y, area, at, found = 0.0, 0.0, 0.0, {0.0: (0.0, 0.0)}
    for stop, u, following in zip(stops, level[:-1], level[1:], strict=True):
        length = stop - at
        slope = (following - u) / length
        # the particular solution of y' = gain (u + slope s) - k y is linear in s
        b = gain * slope / k
        a = (gain * u - b) / k
        y = a + b * length + (y - a) * np.exp(-k * length)
        area = area + (u + following) * length / 2
        at = stop
        found[stop] = (y, area)
    return np.array([found[t] for t in times])


needs_interpolate = pytest.mark.skipif(not hasattr(uq, "interpolate"), reason="uq.interpolate does not exist yet")
KNOTS = np.array([1.0, 2.0, 2.5, 7.0, 11.0])
LEVELS = np.array([0.0, 5.0, 1.0, 1.0, 4.0])


@needs_interpolate
@pytest.mark.parametrize("times", [[0.5, 1.0, 1.7, 2.0, 2.5, 3.0, 7.0, 10.0, 11.0, 20.0], [20.0]], ids=["all", "last"])
def test_a_measured_input_is_exact_between_its_kinks(times):
    theta, times = {"gain": 2.0, "k": 0.7}, np.array(times)
    design = uq.Design(times, inputs={"u_times": KNOTS, "u_values": LEVELS})
    found = solved(model(measured_initial, measured_rhs, theta, ("y", "area")), theta, design)
    np.testing.assert_allclose(found, piecewise_linear(KNOTS, LEVELS, 0.7, 2.0, times), rtol=RTOL, atol=1e-10)


@needs_interpolate
def test_a_measured_input_that_is_a_short_spike_is_not_missed():
    theta, times = {"gain": 2.0, "k": 0.07}, np.array([100.0])
    knots, levels = np.array([0.0, 40.0, 40.01, 40.02]), np.array([0.0, 0.0, 100.0, 0.0])
    design = uq.Design(times, inputs={"u_times": knots, "u_values": levels})
    found = solved(model(measured_initial, measured_rhs, theta, ("y", "area")), theta, design)
    np.testing.assert_allclose(found, piecewise_linear(knots, levels, 0.07, 2.0, times), rtol=RTOL)


@needs_interpolate
@every_way
def test_slopes_by_the_values_of_a_table(way):
    theta, times = {"k": 0.7, "u0": 1.0, "u1": 3.0, "u2": 0.5}, np.array([0.5, 1.5, 2.0, 3.0, 9.0])
    knots = KNOTS[:3]
    design = uq.Design(times, inputs={"u_times": knots})

    def closed(theta):
        values = np.array([theta[name] for name in ("u0", "u1", "u2")])
        return piecewise_linear(knots, values, theta["k"], 1.0, times)

    found = slopes(model(measured_initial, tabled_rhs, theta, ("y", "area")), theta, design, tuple(theta), way)
    np.testing.assert_allclose(found.values, closed(theta), rtol=RTOL)
    assert_slopes(found, complex_step(closed, theta, tuple(theta)))


@needs_interpolate
def test_a_table_is_linear_between_its_times_and_constant_outside():
    read = uq.interpolate(jnp.asarray(KNOTS), jnp.asarray(LEVELS))
    at = np.array([-3.0, 1.0, 1.5, 2.0, 2.25, 5.0, 9.0, 11.0, 99.0])
    np.testing.assert_allclose([float(read(t)) for t in at], np.interp(at, KNOTS, LEVELS), rtol=1e-14)


# --- bad input


@pytest.mark.parametrize("direction", ["up", "", "Rising"])
def test_a_direction_that_does_not_exist_is_refused(direction):
    with pytest.raises(uq.InputError, match="direction"):
        uq.Event(on_the_ground, bounce, direction)


def wrong_change(t, y, p, inputs):
    return {"plasma": 1.0}


def test_a_change_of_a_state_that_does_not_exist_is_refused():
    wrong = model(drug_initial, drug_rhs, DRUG, "C", events=(uq.Event(too_little, wrong_change),))
    with pytest.raises(uq.InputError, match="plasma"):
        uq.evaluate(wrong, DRUG, uq.Design([1.0]))
