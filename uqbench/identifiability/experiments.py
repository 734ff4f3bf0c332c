"""Several experiments as one: what they tell together, and what measurements at the steady state alone can tell.

One setting of the inputs may leave open what two settle: the velocity at one concentration says one number of the two
that the hyperbola has. `together` puts copies of a system side by side, one for each setting, with the parameters in
common.

An experiment whose every time is `inf` sees the state of rest as a function of its inputs, never the way there, and
`at_rest` asks of that function alone. The state of rest of equations that are linear in the states, or of one that is
quadratic, has a closed form that symbols can read (`systems.reduced`), conserved totals included; for all others the
answer is open.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np

from ..design import Design
from ..model import Model
from ..system import Ode
from ..systems.reduced import FastEquilibrium

# More settings than unknowns tell nothing new of a rational function, and each lengthens the equations.
MOST_AT_REST, MOST_TOGETHER = 8, 3


def only_at_rest(experiments: Mapping[str, Design]) -> bool:
    """Whether every measurement is made at the steady state."""
    return all(design.times.size and bool(np.all(np.isinf(design.times))) for design in experiments.values())


def settings(model: Model, experiments: Mapping[str, Design], most: int) -> list[Mapping]:
    """Inputs of experiments that differ in them, evenly chosen: one more than there are parameters, at most `most`."""
    different: dict[tuple, Mapping] = {}
    for design in experiments.values():
        different.setdefault(tuple(np.asarray(value).tobytes() for value in design.inputs.values()), design.inputs)
    known = list(different.values())
    count = min(len(known), len(model.space.free) + 1, most)
    return [known[k] for k in np.linspace(0, len(known) - 1, count).astype(int)]


def at_rest(model: Model, experiments: Mapping[str, Design]) -> tuple[Model, Design]:
    """The model whose outputs are those of each setting at rest, and a design without inputs.

    Returns:
        a model without dynamics of its own, its output `v` under the second setting named `v 2`. The inputs are the
        numbers of the settings, so that what two of them have in common, or what is zero, counts as it is.
    """
    chosen = settings(model, experiments, MOST_AT_REST)
    equilibrium = FastEquilibrium(model.system, tuple(model.system.initial(model.space.nominal(), chosen[0])))
    rest = Copies(model, tuple(chosen), equilibrium)
    return _joined(model, Ode(nothing, stays, algebraic=rest.outputs), observed, chosen, "at rest")


def together(model: Model, experiments: Mapping[str, Design]) -> tuple[Model, Design]:
    """Copies of the model, one for each setting, and a design without inputs; names and numbers as for `at_rest`."""
    chosen = settings(model, experiments, MOST_TOGETHER)
    copies = Copies(model, tuple(chosen))
    system = replace(model.system, initial=copies.initial, rhs=copies.rhs, algebraic=copies.outputs)
    joined, _ = _joined(model, system, observed, chosen, "in several experiments")
    # the times say where equations jump
    longest = max(experiments.values(), key=lambda design: float(np.max(design.times, initial=-np.inf)))
    return joined, Design(longest.times, start=longest.start)


def _joined(model: Model, system: Ode, observe, chosen, name: str) -> tuple[Model, Design]:
    noise, units = {}, {}
    for k in range(len(chosen)):
        for output in _measured(model):
            units[_named(output, k)] = model.units[output]
            if output in model.noise:
                old = model.noise[output]
                arguments = {key: _named(value, k) if value in model.units else value
                             for key, value in old.arguments.items()}  # fmt: skip
                noise[_named(output, k)] = type(old)(**arguments)
    joined = replace(model, system=system, observe=observe, units=units, noise=noise, name=f"{model.name} {name}")
    return joined, Design([0.0])


def nothing(p, inputs):
    """A state that is not looked at, since a system has to have one."""
    return {"nothing": jnp.zeros(())}


def stays(t, y, p, inputs):
    return {"nothing": jnp.zeros(())}


def observed(y, p):
    return {name.removeprefix(OBSERVED): value for name, value in y.items() if name.startswith(OBSERVED)}


OBSERVED = "observed "


@dataclass(frozen=True, eq=False)
class Copies:
    """Copies of a model with inputs and states of their own; at rest where an `equilibrium` is given."""

    model: Model
    chosen: tuple[Mapping, ...]
    equilibrium: FastEquilibrium | None = None

    def initial(self, p, inputs):
        return self._each(lambda given, y: self.model.system.initial(p, given), {})

    def rhs(self, t, y, p, inputs):
        return self._each(lambda given, y: self.model.system.rhs(t, y, p, given), y)

    def outputs(self, t, y, p, inputs):
        """What is measured in each copy, marked so that it is told from the states."""

        def measured(given, y):
            states = self.equilibrium(t, {}, p, given) if self.equilibrium else y
            outputs = self.model.observed(t, states, p, given)
            return {f"{OBSERVED}{name}": outputs[name] for name in _measured(self.model)}

        return self._each(measured, y)

    def _each(self, function, y):
        found = {}
        for k, given in enumerate(self.chosen):
            names = [name for name in y if _own(name, k, len(self.chosen))]
            states = {name.removesuffix(_named("", k)): y[name] for name in names}
            found |= {_named(name, k): value for name, value in function(given, states).items()}
        return found


def _measured(model: Model) -> tuple[str, ...]:
    """The outputs with noise, and those to which the noise refers; all where none has any."""
    named = {name for dist in model.noise.values() for name in dist.names}
    return tuple(name for name in model.outputs if name in model.noise or name in named) or model.outputs


def _named(name: str, k: int) -> str:
    """The first setting keeps its names, so that words about it read as the author wrote them."""
    return name if k == 0 else f"{name} {k + 1}"


def _own(name: str, k: int, count: int) -> bool:
    others = any(name.endswith(_named("", other)) for other in range(1, count))
    return name.endswith(_named("", k)) if k else not others
