"""Random reaction networks that nobody tuned a solver to, and a reference for their solutions and derivatives.

A network is drawn from its seed alone. Even seeds give mass action: isomerisation, catalysed isomerisation and binding
among species of integer mass, so that mass is conserved and nothing explodes. Odd seeds give genes that regulate each
other by Hill functions, with production in proportion to decay, so that every species has a level of its own. There are
3 to 12 species; rate constants span eight decades around the time scale of the observation (itself anywhere in eight
decades), and concentrations lie between 1e-12 and 1e6, in units that are consistent: constants of second order carry
the inverse of a concentration, so that the network does something.

Every rate is k y_a y_b H, with H a Hill function of one species or 1; that makes the reference short. It is written in
NumPy with its derivatives by hand, solved by SciPy's Radau at a relative tolerance of 1e-11 and absolute ones of
1e-20 of the largest value of each state; the sensitivities by the variational equations, at 1e-9. That takes seconds
for each, so LSODA at 1e-12 comes first, and Radau has the last word on everything that seems wrong. The model under
test is written a second time, in the form that an author would write.

    python -m tests.solves.random_networks --count 100 --seed 0

prints what differs.
"""

import argparse
import dataclasses
import signal
import time
import warnings
from collections import Counter
from functools import cached_property, lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp
from scipy.sparse import block_diag, csc_matrix

import uqbench as uq

KINDS = ("mass action", "Hill")
DECADES = 4.0  # on either side
# What the solver is asked for by default, and what its steps may add up to.
RTOL = 1e-8
ACCUMULATED = 100.0
GRADIENT_TOLERANCE = 1e-4
# Shares below which the relative error of a state is no longer asked for: of the largest value that it has had so far,
# of the largest that it ever has, and of the largest of all states, where only rounding is left of it.
FLOOR, TRACE, ROUNDING = 1e-4, 1e-12, 1e-16
# Absolute tolerance of the reference as a share of the largest value of each state, so that traces have digits as well.
TINY = 1e-20


@dataclasses.dataclass(frozen=True)
class Reaction:
    """A rate k y_a y_b H(y_r) and what it makes and consumes; indices of species, -1 where there is none.

    Args:
        reactants: up to two species that multiply the rate.
        changes: species -> molecules per event.
        constant: the rate constant.
        regulator: the species that H reads, or -1.
        half: concentration at which H is one half. power: of Hill. activates: H rises from 0 to 1, else it falls.
    """

    reactants: tuple[int, ...]
    changes: tuple[tuple[int, int], ...]
    constant: float
    regulator: int = -1
    half: float = 1.0
    power: float = 1.0
    activates: bool = True


@dataclasses.dataclass(frozen=True)
class Network:
    """A network with its parameters, times, start, and the concentration about which it was drawn."""

    seed: int
    kind: str
    reactions: tuple[Reaction, ...]
    start: np.ndarray
    times: np.ndarray
    concentration: float

    @property
    def states(self) -> tuple[str, ...]:
        return tuple(f"x{index}" for index in range(len(self.start)))

    @cached_property
    def theta(self) -> dict[str, float]:
        """Rate constants, constants of the Hill functions, and the starts that are not zero."""
        values = {f"k{index}": reaction.constant for index, reaction in enumerate(self.reactions)}
        for index, reaction in enumerate(self.reactions):
            if reaction.regulator >= 0:
                values |= {f"K{index}": reaction.half, f"n{index}": reaction.power}
        return values | {f"start{index}": value for index, value in enumerate(self.start) if value}

    @cached_property
    def model(self) -> uq.Model:
        """With default settings, and priors whose medians are off by about a factor of three."""
        rng = np.random.default_rng((self.seed, 1))
        space = uq.Space(
            {
                name: uq.epistemic(uq.LogNormal(median=value * np.exp(rng.normal()), sigma=1.0))
                for name, value in self.theta.items()
            }
        )
        system = uq.Ode(self._initial, self._rhs)
        return uq.Model(space, system, _every_state, dict.fromkeys(self.states, ""), name=f"{self.kind} {self.seed}")

    def _initial(self, p, inputs):
        return {name: p[f"start{index}"] if self.start[index] else 0.0 for index, name in enumerate(self.states)}

    def _rhs(self, t, y, p, inputs):
        slope = dict.fromkeys(self.states, 0.0)
        for index, reaction in enumerate(self.reactions):
            rate = p[f"k{index}"]
            for species in reaction.reactants:
                rate = rate * y[f"x{species}"]
            if reaction.regulator >= 0:
                bound = y[f"x{reaction.regulator}"] ** p[f"n{index}"]
                free = p[f"K{index}"] ** p[f"n{index}"]
                rate = rate * (bound if reaction.activates else free) / (bound + free)
            for species, molecules in reaction.changes:
                slope[f"x{species}"] = slope[f"x{species}"] + molecules * rate
        return slope


def _every_state(y, p):
    return y


# --- drawing a network


def network(seed: int) -> Network:
    """The network of that seed."""
    rng = np.random.default_rng((seed, 0))
    kind = KINDS[seed % 2]
    count = int(rng.integers(3, 13))
    concentration = 10.0 ** rng.uniform(-10.0, 4.0)
    duration = 10.0 ** rng.uniform(-3.0, 5.0)
    draw = _mass_action if kind == "mass action" else _hill
    reactions, start = draw(rng, count, concentration, duration)
    times = duration * np.geomspace(1e-3, 10.0 ** rng.uniform(0.0, 2.0), 12)
    return Network(seed, kind, tuple(reactions), start, times, concentration)


def _rate(rng, duration: float) -> float:
    return 10.0 ** rng.uniform(-DECADES, DECADES) / duration


def _mass_action(rng, count, concentration, duration):
    mass = np.sort(np.concatenate([[1, 1, 2], rng.integers(1, 4, count - 3)]))
    pairs = [(a, b) for a in range(count) for b in range(a + 1, count) if mass[a] == mass[b]]
    bindings = [
        (a, b, c) for a in range(count) for b in range(a, count) for c in range(count) if mass[a] + mass[b] == mass[c]
    ]
    reactions = []
    for _ in range(int(rng.integers(count, 2 * count))):
        forward, backward = _rate(rng, duration), _rate(rng, duration)
        if rng.random() < 0.6:
            a, b, c = bindings[rng.integers(len(bindings))]
            together = ((a, -2), (c, 1)) if a == b else ((a, -1), (b, -1), (c, 1))
            apart = tuple((species, -molecules) for species, molecules in together)
            reactions += [
                Reaction((a, b), together, forward / concentration),
                Reaction((c,), apart, backward),
            ]
        else:
            a, b = rng.permutation(pairs[rng.integers(len(pairs))])
            catalyst = int(rng.integers(count))
            catalysed = rng.random() < 0.5 and catalyst not in (a, b)
            reactants = (int(a), catalyst) if catalysed else (int(a),)
            constant = forward / concentration if catalysed else forward
            reactions.append(Reaction(reactants, ((int(a), -1), (int(b), 1)), constant))
    start = concentration * 10.0 ** rng.uniform(-2.0, 2.0, count) * (rng.random(count) < 0.5)
    start[:2] = concentration * 10.0 ** rng.uniform(-1.0, 1.0, 2)
    return reactions[: 2 * count + 2], start


def _hill(rng, count, concentration, duration):
    level = concentration * 10.0 ** rng.uniform(-2.0, 2.0, count)
    reactions = []
    for species in range(count):
        decay = _rate(rng, duration)
        regulator = int(rng.integers(count))
        power = float(rng.integers(1, 5)) if rng.random() < 0.5 else rng.uniform(1.0, 4.0)
        reactions += [
            Reaction((species,), ((species, -1),), decay),
            Reaction(
                *((), ((species, 1),), level[species] * decay * 10.0 ** rng.uniform(0.0, 1.0)),
                regulator=regulator,
                half=level[regulator] * 10.0 ** rng.uniform(-1.0, 1.0),
                power=power,
                activates=bool(rng.random() < 0.5),
            ),
        ]
        if rng.random() < 0.3:  # made from another species too, so that they are coupled by mass action as well
            other = int(rng.integers(count))
            if other != species:
                reactions.append(Reaction((other,), ((other, -1), (species, 1)), _rate(rng, duration)))
    start = level * (rng.random(count) < 0.7)
    start[0] = level[0]  # from nothing at all genes that only activate each other would stay silent
    return reactions, start


# --- the reference


@dataclasses.dataclass(frozen=True)
class Reference:
    """States `(times, states)`, derivatives by the logarithms of the parameters `(times, states, parameters)`, and the
    largest value that each state has had up to each time, `(times, states)`."""

    states: np.ndarray
    derivatives: np.ndarray
    largest: np.ndarray


class Equations:
    """The network in NumPy: rates and their derivatives, all reactions and any number of states `(..., states)`."""

    def __init__(self, network: Network):
        reactions = network.reactions
        self.count, self.names = len(network.start), tuple(network.theta)
        # one species more, which is 1, stands for a reactant that is not there
        pad = [(*reaction.reactants, self.count, self.count)[:2] for reaction in reactions]
        self.first, self.second = np.array(pad).T
        self.changes = np.zeros((self.count, len(reactions)))
        for index, reaction in enumerate(reactions):
            for species, molecules in reaction.changes:
                self.changes[species, index] += molecules
        self.constant = np.array([reaction.constant for reaction in reactions])
        self.regulated = np.array([i for i, reaction in enumerate(reactions) if reaction.regulator >= 0], int)
        of = [reactions[i] for i in self.regulated]
        self.regulator = np.array([reaction.regulator for reaction in of], int)
        self.half = np.array([reaction.half for reaction in of])
        self.power = np.array([reaction.power for reaction in of])
        self.activates = np.array([reaction.activates for reaction in of], bool)
        index = np.arange(len(self.constant))
        self.as_first, self.as_second = (np.zeros((len(index), self.count + 1)) for _ in range(2))
        self.as_first[index, self.first] = self.as_second[index, self.second] = 1.0
        self.as_regulator = np.zeros((len(self.regulated), self.count + 1))
        self.as_regulator[np.arange(len(self.regulated)), self.regulator] = 1.0

    def _factors(self, y):
        extended = np.concatenate([y, np.ones((*y.shape[:-1], 1))], axis=-1)
        a, b, hill = extended[..., self.first], extended[..., self.second], np.ones((*y.shape[:-1], len(self.constant)))
        ratio = np.maximum(y[..., self.regulator], 0.0) / self.half
        occupied = ratio**self.power / (1 + ratio**self.power)
        if len(self.regulated):
            hill[..., self.regulated] = np.where(self.activates, occupied, 1 - occupied)
        return a, b, hill, ratio, occupied

    def slope(self, y):
        a, b, hill, _, _ = self._factors(y)
        return (self.constant * a * b * hill) @ self.changes.T

    def jacobian(self, y):
        """By the states, `(..., states, states)`."""
        a, b, hill, ratio, _ = self._factors(y)
        by = (self.constant * b * hill)[..., None] * self.as_first + (self.constant * a * hill)[
            ..., None
        ] * self.as_second
        if len(self.regulated):
            bare = np.where(self.activates, 1.0, -1.0) * (self.constant * a * b)[..., self.regulated]
            # power occupied (1 - occupied) / x, written without dividing by a zero
            steep = self.power * ratio ** (self.power - 1) / (1 + ratio**self.power) ** 2 / self.half
            by[..., self.regulated, :] += (bare * steep)[..., None] * self.as_regulator
        return self.changes @ by[..., : self.count]

    def by_parameters(self, y):
        """By the logarithms of the parameters, `(..., states, parameters)`, zero for those of the start."""
        a, b, hill, ratio, occupied = self._factors(y)
        rates = self.constant * a * b * hill
        by = np.zeros((*y.shape[:-1], self.count, len(self.names)))
        by[..., : len(self.constant)] = rates[..., None, :] * self.changes
        bare = np.where(self.activates, 1.0, -1.0) * (self.constant * a * b)[..., self.regulated]
        steep = bare * occupied * (1 - occupied) * self.power
        logarithm = np.log(np.where(ratio > 0, ratio, 1.0))
        columns = len(self.constant) + 2 * np.arange(len(self.regulated))
        changes = self.changes[:, self.regulated]
        by[..., columns] = -steep[..., None, :] * changes
        by[..., columns + 1] = (steep * logarithm)[..., None, :] * changes
        return by

    def by_start(self, network: Network):
        """Derivatives of the start by the logarithms of the parameters, `(states, parameters)`."""
        first = np.zeros((self.count, len(self.names)))
        for column, name in enumerate(self.names):
            if name.startswith("start"):
                species = int(name.removeprefix("start"))
                first[species, column] = network.start[species]
        return first


def _solve(network, equations, method, rtol, atol, **settings):
    solution = solve_ivp(
        lambda t, y: equations.slope(y),
        (0.0, network.times[-1]),
        network.start,
        method,
        rtol=rtol,
        atol=atol,
        jac=lambda t, y: equations.jacobian(y),
        **settings,
    )
    if not solution.success:
        raise RuntimeError(f"{network.kind} {network.seed}, {method}: {solution.message}")
    return solution


def reference(network: Network, *, thorough: bool = False) -> Reference:
    """The solution and its derivatives.

    Args:
        network: to be solved.
        thorough: by Radau throughout, seconds each; otherwise by LSODA at 1e-12 and on its steps by collocation, which
            is ten times faster. `examine` calls nothing wrong before the thorough reference has said so too.
    """
    equations = Equations(network)
    rough = _solve(network, equations, "Radau", 1e-6, 1e-14 * network.concentration)
    # a species that is never there is measured against the others
    largest = np.maximum(np.abs(rough.y).max(axis=1), 1e-30 * network.concentration)
    if thorough:
        states = _solve(network, equations, "Radau", 1e-11, TINY * largest, t_eval=network.times).y.T
        derivatives = _variational(network, equations, largest)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            solution = _solve(network, equations, "LSODA", 1e-12, TINY * largest, dense_output=True)
        states = solution.sol(network.times).T
        derivatives = _collocated(network, equations, solution)
    so_far = np.array([np.abs(rough.y[:, rough.t <= t]).max(axis=1) for t in network.times])
    so_far = np.maximum.accumulate(np.maximum(so_far, np.abs(states)), axis=0)
    return Reference(states, derivatives, so_far)


def _variational(network: Network, equations: Equations, largest: np.ndarray) -> np.ndarray:
    """The variational equations beside the states, by Radau at 1e-9.

    Its Newton iteration is given the Jacobian of the states for each column; what couples the columns to the states is
    left out, which costs one iteration and makes the linear systems sparse.
    """
    count, columns = equations.count, 1 + len(equations.names)
    first = np.concatenate([network.start[:, None], equations.by_start(network)], axis=1)

    def slope(t, packed):
        y, both = packed[:count], packed.reshape(columns, count).T
        change = equations.jacobian(y) @ both
        change[:, 0] = equations.slope(y)
        change[:, 1:] += equations.by_parameters(y)
        return change.T.ravel()

    def jacobian(t, packed):
        return block_diag([csc_matrix(equations.jacobian(packed[:count]))] * columns, format="csc")

    span, atol = (0.0, network.times[-1]), np.tile(TINY * largest, columns)
    solution = solve_ivp(slope, span, first.T.ravel(), "Radau", network.times, rtol=1e-9, atol=atol, jac=jacobian)
    if not solution.success:
        raise RuntimeError(f"{network.kind} {network.seed}, sensitivities: {solution.message}")
    return solution.y.T.reshape(len(network.times), columns, count)[:, 1:].transpose(0, 2, 1)


# Radau IIA of order five (Hairer & Wanner, Solving Ordinary Differential Equations II, table IV.5.6).
_ROOT = np.sqrt(6.0)
_NODES = np.array([(4 - _ROOT) / 10, (4 + _ROOT) / 10, 1.0])
_WEIGHTS = np.array(
    [
        [(88 - 7 * _ROOT) / 360, (296 - 169 * _ROOT) / 1800, (-2 + 3 * _ROOT) / 225],
        [(296 + 169 * _ROOT) / 1800, (88 + 7 * _ROOT) / 360, (-2 - 3 * _ROOT) / 225],
        [(16 - _ROOT) / 36, (16 + _ROOT) / 36, 1 / 9],
    ]
)


def _collocated(network: Network, equations: Equations, solution) -> np.ndarray:
    """The variational equations along a known solution: linear, so that each step is one linear system.

    Each step of the solution is halved; all of them are prepared together and then multiplied.
    """
    ends = np.unique(np.concatenate([solution.t, (solution.t[1:] + solution.t[:-1]) / 2, network.times]))
    ends = ends[ends <= network.times[-1]]
    starts, lengths = ends[:-1], np.diff(ends)
    sensitivity, found = equations.by_start(network), {}
    count = equations.count
    for chunk in np.array_split(np.arange(len(starts)), max(len(starts) // 500, 1)):
        h = lengths[chunk]
        at = starts[chunk, None] + h[:, None] * _NODES
        y = solution.sol(at.ravel()).T.reshape(*at.shape, count)
        jacobian, forcing = equations.jacobian(y), equations.by_parameters(y)
        coupling = np.einsum("k,ij,kiab->kiajb", h, _WEIGHTS, jacobian).reshape(len(h), 3 * count, 3 * count)
        right = np.concatenate([jacobian, forcing], axis=-1).reshape(len(h), 3 * count, -1)
        stages = np.linalg.solve(np.eye(3 * count) - coupling, right).reshape(len(h), 3, count, -1)
        change = np.einsum("k,j,kjac->kac", h, _WEIGHTS[2], stages)
        for end, step in zip(ends[1:][chunk], change, strict=True):
            sensitivity = sensitivity + step[:, :count] @ sensitivity + step[:, count:]
            found[end] = sensitivity
    return np.stack([found[t] for t in network.times])


# --- the solves under test, and their errors


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one network; errors are in units of what is allowed, so that 1 is the limit.

    Args:
        network: that was solved.
        value: of the states. forward: of the sensitivities, and of the states that come with them. reverse: of the
            gradients of three outputs, and of a random combination of all.
        codes: result codes of the three kinds of solves. message: of an exception. seconds: of all solves.
    """

    network: Network
    value: float = np.nan
    forward: float = np.nan
    reverse: float = np.nan
    codes: tuple[int, ...] = ()
    message: str = ""
    seconds: float = np.nan

    @property
    def refused(self) -> bool:
        """At least one of the solves ended with a code."""
        return any(self.codes)

    @property
    def wrong(self) -> bool:
        """An exception, or a number that is wrong with success."""
        errors = (self.value, self.forward, self.reverse)
        pairs = zip(errors, self.codes, strict=False)
        return bool(self.message) or any(code == 0 and not error <= 1 for error, code in pairs)

    def __str__(self) -> str:
        network = self.network
        codes = "/".join(map(str, self.codes)) or "-"
        return (
            f"{network.kind:12s} {network.seed:6d} {len(network.start):3d} {len(network.theta):4d} {self.value:9.1e} "
            f"{self.forward:9.1e} {self.reverse:9.1e} {codes:>8s} {self.seconds:7.2f} {self.message}"
        )


HEADER = "kind           seed   n    p     value   forward   reverse    codes seconds (errors in units of the limits)"


def scales(exact: Reference) -> tuple[np.ndarray, np.ndarray]:
    """What errors of states and of rows of derivatives are measured against, `(times, states)` each.

    A relative tolerance promises digits of |y|, down to where a state is a small share (`FLOOR`) of what it has been.
    A derivative by the logarithm of a parameter is measured against the largest of its row, that is by all parameters
    at that time; it need not be better than the value itself, whose error it shares.
    """
    of_states = np.maximum(np.abs(exact.states), FLOOR * exact.largest)
    of_states = np.maximum(of_states, np.maximum(TRACE * exact.largest[-1], ROUNDING * exact.largest.max()))
    row = np.abs(exact.derivatives).max(axis=-1)
    of_derivatives = np.maximum(row, ACCUMULATED * RTOL / GRADIENT_TOLERANCE * of_states)
    return of_states, of_derivatives


def solve(network: Network, exact: Reference) -> Outcome:
    """Solves with default settings and measures against a reference."""
    model, design, names = network.model, uq.Design(network.times), tuple(network.theta)
    of_states, of_derivatives = scales(exact)
    logarithms = jnp.log(jnp.array([network.theta[name] for name in names]))
    weights = _cotangents(network, of_derivatives)

    def run(logarithms, mode):
        theta = dict(zip(names, jnp.exp(logarithms), strict=True))
        done = uq.evaluate(model, theta, design, mode=mode)
        return jnp.stack([done.outputs[name] for name in network.states], axis=-1), done.result

    def outputs(logarithms):
        states, result = run(logarithms, "forward")
        return states, (states, result)

    def combined(logarithms, weights):
        states, result = run(logarithms, "reverse")
        return jnp.sum(weights * states), result

    began = time.perf_counter()
    try:
        done = uq.evaluate(model, network.theta, design)
        states = np.stack([np.asarray(done.outputs[name]) for name in network.states], axis=-1)
        derivatives, (beside, code) = jax.jit(jax.jacfwd(outputs, has_aux=True))(logarithms)
        pull = jax.jit(jax.grad(combined, has_aux=True))
        gradients, reverse_codes = zip(*(pull(logarithms, row) for row in weights), strict=True)
    except Exception as error:  # whatever is raised is an outcome of that network, and the others go on
        return Outcome(network, message=f"{type(error).__name__}: {error}".splitlines()[0][:120])
    seconds = time.perf_counter() - began
    limit = ACCUMULATED * RTOL * of_states
    values = [np.max(_finite(np.abs(found - exact.states)) / limit) for found in (states, np.asarray(beside))]
    slopes = np.abs(np.asarray(derivatives) - exact.derivatives)
    forward = np.max(_finite(slopes) / of_derivatives[..., None]) / GRADIENT_TOLERANCE
    # without cancellation among the terms of a combination
    size = np.einsum("cti,tip->cp", np.abs(weights), np.abs(exact.derivatives)).max(axis=1)
    size = np.maximum(size, np.abs(weights * of_derivatives).max(axis=(1, 2)))
    pulled = np.abs(np.asarray(gradients) - np.einsum("cti,tip->cp", weights, exact.derivatives))
    reverse = np.max(_finite(pulled) / size[:, None]) / GRADIENT_TOLERANCE
    codes = (int(done.result), int(code), max(map(int, reverse_codes)))
    return Outcome(network, float(values[0]), float(max(forward, values[1])), float(reverse), codes, seconds=seconds)


def _cotangents(network: Network, of_derivatives: np.ndarray) -> np.ndarray:
    """What reverse mode is asked for, `(4, times, states)`: three single outputs, and all of them at once."""
    rng = np.random.default_rng((network.seed, 2))
    everything = rng.normal(size=of_derivatives.shape)
    single = np.zeros((3, of_derivatives.size))
    single[np.arange(3), rng.choice(of_derivatives.size, 3, replace=False)] = 1.0
    return np.concatenate([single.reshape(3, *of_derivatives.shape), everything[None]]) / of_derivatives


def _finite(errors: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(errors), errors, np.inf)


@lru_cache(maxsize=8)
def reference_of(seed: int) -> Reference:
    """The fast one, of the network of that seed."""
    return reference(network(seed))


def examine(seed: int) -> Outcome:
    """Solves the network of that seed; what seems wrong is measured again, against the thorough reference."""
    drawn = network(seed)
    try:
        found = solve(drawn, reference_of(seed))
    except RuntimeError:  # of the fast reference
        found = None
    if found is not None and not found.wrong:
        return found
    return solve(drawn, reference(drawn, thorough=True))


class TooLong(BaseException):
    """Raised by the alarm; not an `Exception`, which would count as an outcome of the network."""


def _give_up(*_) -> None:
    raise TooLong


def main() -> None:
    parser = argparse.ArgumentParser(description="Random networks: what is wrong, what is refused.")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the first network; the others follow")
    parser.add_argument("--all", action="store_true", help="print the right ones too")
    parser.add_argument("--patience", type=int, default=300, help="seconds for one network, references included")
    arguments = parser.parse_args()
    signal.signal(signal.SIGALRM, _give_up)
    print(HEADER)
    tally, slowest, began = Counter(), 0.0, time.perf_counter()
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        signal.alarm(arguments.patience)
        try:
            outcome = examine(seed)
        except TooLong:
            tally["unknown"] += 1
            print(f"{seed}: the references took too long", flush=True)
            continue
        finally:
            signal.alarm(0)
        kind = "wrong" if outcome.wrong else "refused" if outcome.refused else "right"
        tally[kind] += 1
        slowest = max(slowest, outcome.seconds)
        if kind != "right" or arguments.all:
            print(f"{outcome} {kind}", flush=True)
        jax.clear_caches()
    print(
        f"{tally['right']} right, {tally['refused']} refused with a code, {tally['wrong']} wrong with success, "
        f"{tally['unknown']} without a reference; slowest {slowest:.1f} s, "
        f"all together {time.perf_counter() - began:.0f} s"
    )
    for code in sorted(uq.RESULTS):
        print(f"  {code}: {uq.RESULTS[code]}")


if __name__ == "__main__":
    main()
