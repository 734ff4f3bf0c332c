"""Molecules that are made at a constant rate and lost one by one: the simplest network, all of it in closed form.

From 0 molecules the count at time t is Poisson with mean (k/g)(1 - exp(-g t)). `model` is the mean; `moments` has the
variance too, `trajectory` one path.
"""

from uqbench import LogNormal, Model, Reactions, Space, epistemic

space = Space(
    k=epistemic(LogNormal(median=10.0, sigma=0.3), "1/h", "rate of production"),
    g=epistemic(LogNormal(median=1.0, sigma=0.3), "1/h", "loss of one molecule"),
)


def propensities(y, p, inputs):
    return {"birth": p["k"], "death": p["g"] * y["X"]}


def mean_and_variance(y, p):
    return {"mean": y["X"], "variance": y["var_X"]}


network = Reactions({"X": 0}, {"birth": {"X": 1}, "death": {"X": -1}}, propensities)
model = Model(space, network.ode(), units={"X": ""}, name="birth and death", time_unit="h")
moments = Model(space, network.moments(), mean_and_variance, dict.fromkeys(("mean", "variance"), ""),
                name="birth and death, moments", time_unit="h")  # fmt: skip
trajectory = Model(space, network.jumps(), units={"X": ""}, name="birth and death, one path", time_unit="h")
