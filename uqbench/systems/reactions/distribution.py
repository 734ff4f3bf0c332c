"""The distribution of copy numbers over time: the chemical master equation in a box of counts."""

import math
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...annotations import Values
from ...design import Design
from ...errors import FIRST_OWN, InputError, Result, nearest
from ...master_equation import codes
from ...settings import is_number
from ...system import Frozen
from ..estimates import DERIVATIVE, Estimate
from ..protocol import Density, Outcome, Run, finished
from .box import box_shape
from .counts import Counts
from .network import Network
from .solution import solution
from .states import States, states_of

LEAKED, OTHER_SUMS = FIRST_OWN + 30, FIRST_OWN + 32
# Where rates vary with time: the error of the steps in time (sum of absolute differences), and how many there may be.
STEP_ERROR, MAX_STEPS = 1e-5, 4096
# Jumps of the fastest state that are followed.
MAX_PRODUCTS = 2**18
# States of a box in which is looked how propensities change with time.
SOME = 64
# From the prior, for which a box is looked for.
DRAWS = 32


@dataclass(frozen=True)
class MasterEquation(Counts):
    """Probabilities of all counts in a box. A run gives the expected values of the outputs, which may be any functions
    of the counts; those without noise, or with that of counting, have a `density`, of which snapshots of single cells
    are draws. At the time inf the distribution is the stationary one.

    Args:
        bounds: species -> largest count in the box; what is missing is found from means and variances.
        tolerance: of the probability that leaves the box until any time of the design.
        max_states: of a box that is found.
    """

    bounds: Frozen = field(default_factory=Frozen)
    tolerance: float = 1e-8
    max_states: int = 100_000

    kind = "a master equation"
    capabilities = frozenset({"density"})
    expectation_gradients = MappingProxyType({DERIVATIVE: Estimate.MASTER_EQUATION})
    one_by_one = True
    results = MappingProxyType(
        {
            **Counts.results,
            **codes.SENTENCES,
            LEAKED: "more probability than the `tolerance` has left the box of counts. Give larger `bounds`, or a "
            "narrower prior where counts become large.",
            OTHER_SUMS: "a sum of molecules that no reaction changes is another one at the start than at the medians, "
            "and states were laid out for that. Let a start that varies be a parameter that is not fixed, or an "
            "input.",
        }
    )

    def __post_init__(self):
        known, findings = self.network.names, []
        for name, bound in self.bounds.items():
            if name not in known:
                findings.append(f"there is a bound for {name!r}, which is no species; {nearest(name, known)}")
            elif not is_number(bound) or bound < 0 or bound != np.round(bound):
                findings.append(f"the bound of {name!r} is {bound!r}; give a whole number.")
        if not is_number(self.tolerance) or not 0 < self.tolerance < 1:
            findings.append(f"tolerance is {self.tolerance!r}; give a number between 0 and 1.")
        if findings:
            raise InputError("Reactions.master_equation", findings)

    @property
    def settings(self) -> tuple[str, ...]:
        return (f"bounds {sorted(self.bounds.items())}", f"tolerance {self.tolerance!r}")

    def plan(self, model, design: Design) -> str:
        """The shape of the box, and the start where conserved sums leave out species, as text: "31 from 30,0"."""
        if design.settles and self.network.timed:
            raise InputError(
                "Reactions.master_equation",
                ["propensities depend on time, so that there is no distribution at rest; give finite times."],
            )
        # one design, or several with a leading axis
        runs = design.times.reshape(-1, design.times.shape[-1]).shape[0]
        each = (
            [design]
            if design.times.ndim == 1
            else [jax.tree.map(lambda leaf, k=k: leaf[k], design) for k in range(runs)]
        )
        return _box(self, _Key(model.space, each))

    def run(self, model, theta: Values, design: Design, key, plan: str, *, reverse: bool = False, sharper=1.0) -> Run:
        probability, outcome = self._solved(theta, design, plan)
        states, shape = _laid_out(self.network, plan)
        counts = states.counts(shape)

        def expected(t, probability):
            outputs = jax.vmap(lambda counts: self.observed(model, t, counts, theta, design))(counts)
            return {name: probability @ values for name, values in outputs.items()}

        outputs = jax.vmap(expected)(design.times, probability)
        return finished(model, outputs, outcome, design, Result.OUTPUT_NOT_FINITE)

    def random_outputs(self, model) -> tuple[str, ...]:
        return tuple(name for name in model.outputs if name not in model.noise or model.noise[name].of_draws)

    def density(self, model, theta: Values, design: Design, plan: str) -> tuple[dict[str, Density], Outcome]:
        probability, outcome = self._solved(theta, design, plan)
        densities = {}
        for name, of_states in self._values(model, design, plan).items():
            values, place = np.unique(of_states, return_inverse=True)
            own = jnp.zeros((len(design.times), len(values))).at[:, place].add(probability)
            densities[name] = Density(values, own)
        return densities, outcome

    def _values(self, model, design: Design, plan: str) -> dict[str, np.ndarray]:
        """Of each random output its value in each state, which is the same whatever the parameters."""
        states, shape = _laid_out(self.network, plan)
        counts, found = states.counts(shape), []
        with jax.ensure_compile_time_eval():
            inputs = Design(np.zeros(1), inputs={name: np.ones(value.shape) for name, value in design.inputs.items()})
            for factor in (1.0, 0.7):
                theta = {name: factor * jnp.asarray(value) for name, value in model.space.nominal().items()}
                of_one = jax.vmap(lambda each, theta=theta: self.observed(model, 0.0, each, theta, inputs))
                found.append({name: np.asarray(values, float) for name, values in of_one(jnp.asarray(counts)).items()})
        names = self.random_outputs(model)
        wrong = [
            f"{name!r} is measured as a draw from its distribution, but depends on more than the counts. Give it "
            "noise around its mean, or make it a function of the counts alone."
            for name in names
            if not np.array_equal(found[0][name], found[1][name])
        ]
        if wrong:
            raise InputError("Reactions.master_equation", wrong)
        return {name: found[0][name] for name in names}

    def _solved(self, theta: Values, design: Design, plan: str) -> tuple[Float[Array, "times states"], Outcome]:
        states, shape = _laid_out(self.network, plan)
        some = states.counts(shape)[:: max(1, math.prod(shape) // SOME)]
        start = self.start(theta, design)
        found = solution(
            *(states, theta, design, start[np.array(states.kept)], shape),
            tolerance=self.tolerance / 100,
            step_tolerance=STEP_ERROR,
            max_steps=MAX_STEPS,
            max_products=MAX_PRODUCTS,
            breaks=self.breaks(theta, design, some),
        )
        leaves = jnp.max(found.lost) > self.tolerance
        code = jnp.where((found.code == 0) & leaves, LEAKED, found.code)
        code = jnp.where(states.reached(start), code, OTHER_SUMS)
        begins = self.start_code(start)
        code = jnp.where(begins == 0, code, begins)
        outcome = Outcome(code.astype(int), found.products.astype(int), jnp.zeros((), int))
        return found.probability, outcome


@lru_cache(maxsize=64)
def _laid_out(network: Network, plan: str) -> tuple[States, tuple[int, ...]]:
    """The states that a plan is for, and the shape of their box."""
    sizes, _, start = plan.partition(" from ")
    starts = [np.array(start.split(","), float)] if start else []
    states = states_of(network, starts) if starts else States(network, np.zeros((0, len(network.names))), None)
    return states, tuple(map(int, sizes.split("x")))


@lru_cache(maxsize=64)
def _box(system: MasterEquation, key: "_Key") -> str:
    space, network = key.space, system.network
    drawn, nominal = space.sample(jax.random.key(0), (DRAWS,)), space.nominal()
    draws = [{name: values[k] for name, values in drawn.items()} for k in range(DRAWS)]
    starts = [
        np.array([float(np.asarray(network.start(theta, design.inputs)[name])) for name in network.names])
        for theta in (nominal, *draws)
        for design in key.designs
    ]
    states = states_of(network, starts)
    shape = box_shape(states, system.bounds, nominal, draws, key.designs, system.tolerance, system.max_states)
    sizes = "x".join(map(str, shape))
    return sizes if states.independent is None else f"{sizes} from {','.join(f'{each:g}' for each in starts[0])}"


class _Key:
    """Parameters and designs, by their values."""

    def __init__(self, space, designs):
        self.space, self.designs = space, designs
        self.known = tuple(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves((dict(space.nominal()), designs)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.known == other.known and self.space == other.space

    def __hash__(self) -> int:
        return hash(self.known)
