"""Stiff systems with a reference state of ten digits or more at their end: the tables that tests and benchmarks share.

Each right-hand side is plain arithmetic on scalars, so that the same function runs in JAX, in NumPy and on the symbols
of another solver: no side of a comparison gets its own transcription. The tolerance `rtol` belongs with the absolute
one `rtol * floor`; `floor` is the size below which a state no longer matters, and errors are measured on that scale.

Published references, all from the Test Set for Initial Value Problem Solvers, release 2.4 (Mazzia & Magherini,
University of Bari 2008), there computed by RADAU or RADAU5 at 1.1e-18 in extended arithmetic: Robertson, HIRES,
Oregonator, van der Pol and Pollution. The others are closed forms, except for the cascade, whose value was computed for
this file by Radau at 1e-10 and at 1e-12, which agree on the digits that are given.
`tests/benchmarks/test_stiff_solves.py` checks every one by another solver.
"""

import dataclasses
from collections.abc import Mapping
from functools import cache

import numpy as np

import uqbench as uq
from forward_models import receptor_tf, stiff_linear


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Problem:
    """An initial value problem with its reference.

    Args:
        name: as in the tables.
        model: the model at the library's default tolerances; its outputs are its states.
        theta: the values at which the reference holds, every free parameter.
        free: the parameters with respect to which its gradients are taken.
        design: its times; the last is that of the reference.
        floor: absolute over relative tolerance, in the units of the states.
        reference: state -> value at the last time.
    """

    name: str
    model: uq.Model
    theta: Mapping[str, float]
    free: tuple[str, ...]
    design: uq.Design
    floor: float
    reference: Mapping[str, float]

    def __repr__(self) -> str:
        return self.name

    @property
    def states(self) -> tuple[str, ...]:
        return self.model.outputs

    @property
    def times(self) -> np.ndarray:
        return np.asarray(self.design.times)

    def at(self, rtol: float) -> uq.Model:
        """The model at that relative tolerance; one object for each, so that it is compiled once."""
        return _at(self.model, rtol, self.floor)

    def initial(self) -> np.ndarray:
        """`(states,)`"""
        start = self.model.system.initial(self.theta, {})
        return np.array([float(start[name]) for name in self.states])

    def slope(self, t, y, theta=None) -> list:
        """The right-hand side on sequences, of numbers or of symbols."""
        slope = self.model.system.rhs(t, dict(zip(self.states, y, strict=True)), theta or self.theta, {})
        return [slope[name] for name in self.states]

    def end(self) -> np.ndarray:
        """The reference, `(states,)`"""
        return np.array([self.reference[name] for name in self.states])

    def rows(self, run: uq.Run) -> np.ndarray:
        """The outputs of a run, `(times, states)`."""
        return np.stack([np.asarray(run.outputs[name]) for name in self.states], axis=-1)

    def error(self, states, exact) -> float:
        """Largest error on the scale on which the tolerances are asked for; infinite where a value is not finite."""
        states, exact = np.asarray(states), np.asarray(exact)
        if not np.all(np.isfinite(states)):
            return float("inf")
        return float(np.max(np.abs(states - exact) / (np.abs(exact) + self.floor)))


@cache
def _at(model: uq.Model, rtol: float, floor: float) -> uq.Model:
    # The oscillators need more steps than the default allows at the tightest tolerances.
    system = dataclasses.replace(model.system, rtol=rtol, atol=rtol * floor, max_steps=100_000)
    return dataclasses.replace(model, system=system)


def observe(y, p):
    return y


def problem(name, initial, rhs, values, times, floor, reference, free=None) -> Problem:
    """A problem whose parameters are log-normal about the values of its reference, 20 % wide."""
    space = uq.Space({key: uq.epistemic(uq.LogNormal(median=value, sigma=0.2)) for key, value in values.items()})
    model = uq.Model(space, uq.Ode(initial, rhs), observe, dict.fromkeys(reference, ""), name=name)
    return Problem(name, model, values, free or tuple(values), uq.Design(times), floor, reference)


# --- receptor_tf: a fast receptor drives a slow transcription factor


def receptor_states(theta: Mapping[str, float], t) -> dict:
    """Closed form of both states at the times `t`."""
    steady, fast = theta["L"] / (theta["L"] + theta["Kd"]), (theta["L"] + theta["Kd"]) / theta["eps"]
    beta, delta = theta["beta"], theta["delta"]
    slow_part = -beta * steady / delta * np.expm1(-delta * t)
    return {
        "x": -steady * np.expm1(-fast * t),
        "y": slow_part - beta * steady * (np.exp(-delta * t) - np.exp(-fast * t)) / (fast - delta),
    }


def receptor(eps: float) -> Problem:
    theta = {"eps": eps, "L": 2.0, "Kd": 1.0, "beta": 1.0, "delta": 0.5, "sigma": 0.05}
    return Problem(
        name=f"receptor {eps:.0e}",
        model=receptor_tf.model,
        theta=theta,
        free=("eps", "L", "Kd", "beta", "delta"),
        design=uq.Design(np.linspace(0.25, 5.0, 20)),
        floor=1e-3,
        reference={name: float(value) for name, value in receptor_states(theta, 5.0).items()},
    )


# --- stiff_linear: three decays seen through a matrix that is not normal; the model is that of `forward_models`

MODES, INVERSE_MODES = stiff_linear.MODES, stiff_linear.INVERSE_MODES
DECAYS = {"fast": 1e4, "middle": 10.0, "slow": 0.1}


def linear() -> Problem:
    return Problem(
        name="stiff_linear",
        model=stiff_linear.model,
        theta=DECAYS,
        free=tuple(DECAYS),
        design=uq.Design(np.linspace(2.5, 50.0, 20)),
        floor=1e-3,
        reference={name: float(value) for name, value in stiff_linear.solution(DECAYS, 50.0).items()},
    )


# --- Robertson 1966: an autocatalytic reaction over eleven decades of time


def robertson_initial(p, inputs):
    return {"A": 1.0, "B": 0.0, "C": 0.0}


def robertson_rhs(t, y, p, inputs):
    first = p["k1"] * y["A"]
    second = p["k2"] * y["B"] * y["B"]
    third = p["k3"] * y["B"] * y["C"]
    return {"A": third - first, "B": first - third - second, "C": second}


# --- HIRES: high irradiance responses of photomorphogenesis (Schaefer 1975); the ten constants of the publication


def hires_initial(p, inputs):
    return dict(zip(HIRES_END, (1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0057), strict=True))


def hires_rhs(t, y, p, inputs):
    bound = p["k_plus"] * y["y6"] * y["y8"]
    freed = (p["k2"] + p["k_minus"] + p["k_star"]) * y["y7"]
    return {
        "y1": -p["k1"] * y["y1"] + p["k2"] * y["y2"] + p["k6"] * y["y3"] + p["o_ks"],
        "y2": p["k1"] * y["y1"] - (p["k2"] + p["k3"]) * y["y2"],
        "y3": -(p["k1"] + p["k6"]) * y["y3"] + p["k2"] * y["y4"] + p["k5"] * y["y5"],
        "y4": p["k3"] * y["y2"] + p["k1"] * y["y3"] - (p["k2"] + p["k4"]) * y["y4"],
        "y5": -(p["k1"] + p["k5"]) * y["y5"] + p["k2"] * (y["y6"] + y["y7"]),
        "y6": -bound + p["k4"] * y["y4"] + p["k1"] * y["y5"] - p["k2"] * y["y6"] + p["k_minus"] * y["y7"],
        "y7": bound - freed,
        "y8": freed - bound,
    }


HIRES = {
    "k1": 1.71,
    "k2": 0.43,
    "k3": 8.32,
    "k4": 0.69,
    "k5": 0.035,
    "k6": 8.32,
    "k_plus": 280.0,
    "k_minus": 0.69,
    "k_star": 0.69,
    "o_ks": 0.0007,
}
HIRES_END = {
    "y1": 0.7371312573325668e-3,
    "y2": 0.1442485726316185e-3,
    "y3": 0.5888729740967575e-4,
    "y4": 0.1175651343283149e-2,
    "y5": 0.2386356198831331e-2,
    "y6": 0.6238968252742796e-2,
    "y7": 0.2849998395185769e-2,
    "y8": 0.2850001604814231e-2,
}


# --- Oregonator: the Belousov-Zhabotinskii reaction (Field & Noyes 1974)


def oregonator_initial(p, inputs):
    return {"x": 1.0, "y": 2.0, "z": 3.0}


def oregonator_rhs(t, y, p, inputs):
    return {
        "x": p["s"] * (y["y"] + y["x"] * (1 - p["q"] * y["x"] - y["y"])),
        "y": (y["z"] - (1 + y["x"]) * y["y"]) / p["s"],
        "z": p["w"] * (y["x"] - y["z"]),
    }


# --- van der Pol's oscillator in its own time, mu = 1000: over two thousand units it jumps twice


def van_der_pol_initial(p, inputs):
    return {"x": 2.0, "v": 0.0}


def van_der_pol_rhs(t, y, p, inputs):
    return {"x": y["v"], "v": p["mu"] * ((1 - y["x"] * y["x"]) * y["v"]) - y["x"]}


# --- cascade: two tiers of the MAPK cascade as mass action (Huang & Ferrell 1996, doi:10.1073/pnas.93.19.10078)
# Concentrations in uM, time in minutes; K_M = (d + k) / a = 300 nM for each of the six enzyme-substrate pairs.


def cascade_initial(p, inputs):
    totals = {"E1": 3e-5, "E2": 3e-4, "KKK": 3e-3, "KK": 1.2, "KKPase": 3e-4}
    return {name: totals.get(name, 0.0) for name in CASCADE_END}


def cascade_rhs(t, y, p, inputs):
    binding = {
        "KKK_E1": ("KKK", "E1", "KKKa"),
        "KKKa_E2": ("KKKa", "E2", "KKK"),
        "KK_KKKa": ("KK", "KKKa", "KKP"),
        "KKP_KKKa": ("KKP", "KKKa", "KKPP"),
        "KKP_KKPase": ("KKP", "KKPase", "KK"),
        "KKPP_KKPase": ("KKPP", "KKPase", "KKP"),
    }
    slopes = dict.fromkeys(CASCADE_END, 0.0)
    for number, (bound, (substrate, enzyme, product)) in enumerate(binding.items(), start=1):
        association = p[f"a{number}"] * y[substrate] * y[enzyme]
        dissociation = p[f"d{number}"] * y[bound]
        conversion = p[f"k{number}"] * y[bound]
        slopes[substrate] = slopes[substrate] - association + dissociation
        slopes[enzyme] = slopes[enzyme] - association + dissociation + conversion
        slopes[bound] = slopes[bound] + association - dissociation - conversion
        slopes[product] = slopes[product] + conversion
    return slopes


CASCADE = {
    f"{kind}{number}": value for number in range(1, 7) for kind, value in (("a", 1e3), ("d", 150.0), ("k", 150.0))
}
CASCADE_END = {
    "E1": 2.9750464788664e-05,
    "E2": 2.9975027628923e-04,
    "KKK": 2.5162822404257e-03,
    "KKK_E1": 2.4953521133607e-07,
    "KKKa": 2.4993101895343e-04,
    "KKKa_E2": 2.4972371077281e-07,
    "KK": 5.4698010191911e-02,
    "KK_KKKa": 4.5568726150275e-05,
    "KKP": 2.2532500684742e-01,
    "KKP_KKKa": 1.8771875554845e-04,
    "KKPP": 9.1950598649609e-01,
    "KKPP_KKPase": 1.9092346272932e-04,
    "KKP_KKPase": 4.6785520160506e-05,
    "KKPase": 6.2291017110170e-05,
}


# --- Pollution: the chemistry of the Dutch air pollution model (Verwer 1994, doi:10.1137/0915076), ppm and minutes


def pollution_initial(p, inputs):
    start = {"NO": 0.2, "O3": 0.04, "HCHO": 0.1, "CO": 0.3, "ALD": 0.01, "SO2": 0.007}
    return {name: start.get(name, 0.0) for name in POLLUTION_END}


def pollution_rhs(t, y, p, inputs):
    slopes = dict.fromkeys(POLLUTION_END, 0.0)
    for number, (reactants, products) in enumerate(REACTIONS, start=1):
        rate = p[f"k{number}"]
        for species in reactants:
            rate = rate * y[species]
        for species in reactants:
            slopes[species] = slopes[species] - rate
        for species in products:
            slopes[species] = slopes[species] + rate
    return slopes


REACTIONS = [
    (before.split(), after.split())
    for before, after in (
        ("NO2", "NO O3P"),
        ("NO O3", "NO2"),
        ("HO2 NO", "NO2 OH"),
        ("HCHO", "HO2 HO2 CO"),
        ("HCHO", "CO"),
        ("HCHO OH", "HO2 CO"),
        ("ALD", "MEO2 HO2 CO"),
        ("ALD OH", "C2O3"),
        ("C2O3 NO", "NO2 MEO2 CO2"),
        ("C2O3 NO2", "PAN"),
        ("PAN", "C2O3 NO2"),
        ("MEO2 NO", "CH3O NO2"),
        ("CH3O", "HCHO HO2"),
        ("NO2 OH", "HNO3"),
        ("O3P", "O3"),
        ("O3", "O1D"),
        ("O3", "O3P"),
        ("O1D", "OH OH"),
        ("O1D", "O3P"),
        ("SO2 OH", "SO4 HO2"),
        ("NO3", "NO"),
        ("NO3", "NO2 O3P"),
        ("NO2 O3", "NO3"),
        ("NO3 NO2", "N2O5"),
        ("N2O5", "NO3 NO2"),
    )
]
POLLUTION_RATES = (
    *(0.35, 0.266e2, 0.123e5, 0.86e-3, 0.82e-3, 0.15e5, 0.13e-3, 0.24e5, 0.165e5, 0.9e4, 0.22e-1, 0.12e5, 0.188e1),
    *(0.163e5, 0.48e7, 0.35e-3, 0.175e-1, 0.1e9, 0.444e12, 0.124e4, 0.21e1, 0.578e1, 0.474e-1, 0.178e4, 0.312e1),
)
POLLUTION = {f"k{number}": rate for number, rate in enumerate(POLLUTION_RATES, start=1)}
POLLUTION_END = {
    "NO2": 0.5646255480022769e-01,
    "NO": 0.1342484130422339e00,
    "O3P": 0.4139734331099427e-08,
    "O3": 0.5523140207484359e-02,
    "HO2": 0.2018977262302196e-06,
    "OH": 0.1464541863493966e-06,
    "HCHO": 0.7784249118997964e-01,
    "CO": 0.3245075353396018e00,
    "ALD": 0.7494013383880406e-02,
    "MEO2": 0.1622293157301561e-07,
    "C2O3": 0.1135863833257075e-07,
    "CO2": 0.2230505975721359e-02,
    "PAN": 0.2087162882798630e-03,
    "CH3O": 0.1396921016840158e-04,
    "HNO3": 0.8964884856898295e-02,
    "O1D": 0.4352846369330103e-17,
    "SO2": 0.6899219696263405e-02,
    "SO4": 0.1007803037365946e-03,
    "NO3": 0.1772146513969984e-05,
    "N2O5": 0.5682943292316392e-04,
}


# --- the tables

RECEPTORS = tuple(receptor(10.0**-k) for k in range(1, 7))
LINEAR = linear()
ROBERTSON = problem(
    "Robertson",
    robertson_initial,
    robertson_rhs,
    {"k1": 0.04, "k2": 3e7, "k3": 1e4},
    np.geomspace(1e-2, 1e11, 14),
    1e-9,
    {"A": 0.2083340149701255e-7, "B": 0.8333360770334713e-13, "C": 0.9999999791665050},
)
HIRES_PROBLEM = problem("HIRES", hires_initial, hires_rhs, HIRES, np.linspace(0.0, 321.8122, 21)[1:], 1e-3, HIRES_END)
OREGONATOR = problem(
    "Oregonator",
    oregonator_initial,
    oregonator_rhs,
    {"s": 77.27, "q": 8.375e-6, "w": 0.161},
    np.linspace(18.0, 360.0, 20),
    1e-3,
    {"x": 0.1000814870318523e1, "y": 0.1228178521549917e4, "z": 0.1320554942846706e3},
)
# The published state is that of the time and velocity scaled by mu.
VAN_DER_POL = problem(
    "van der Pol",
    van_der_pol_initial,
    van_der_pol_rhs,
    {"mu": 1e3},
    np.linspace(100.0, 2000.0, 20),
    1e-3,
    {"x": 0.1706167732170483e1, "v": -0.8928097010247975e-3},
)
CASCADE_PROBLEM = problem(
    "cascade", cascade_initial, cascade_rhs, CASCADE, np.linspace(5.0, 100.0, 20), 1e-6, CASCADE_END
)
POLLUTION_PROBLEM = problem(
    "Pollution", pollution_initial, pollution_rhs, POLLUTION, np.linspace(3.0, 60.0, 20), 1e-6, POLLUTION_END
)
SYSTEMS = (LINEAR, ROBERTSON, OREGONATOR, VAN_DER_POL, HIRES_PROBLEM, CASCADE_PROBLEM, POLLUTION_PROBLEM)
PROBLEMS = (*RECEPTORS, *SYSTEMS)
