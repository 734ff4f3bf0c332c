"""The equations of all parts together: rates, and windows in which each part is solved by itself.

The state of a coupled run is a dict: "states" of each part; "crossed", the amount of each exchange so far; "supplied",
what the declared sources of each part have made so far. Amounts are integrated beside the states by the same steps, so
that what one part loses is what the other gains, to rounding. A window gives the change of all of that, which is added
without loss.

In a window a part is solved with what it needs of the others: their states, piecewise linear between the nodes of the
window, and the amounts that come through its exchanges. An exchange is evaluated by one of its parts, along the steps
of that part, and handed to the other as an amount.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from ..annotations import Values
from ..systems.protocol import names_used
from .chebyshev import Loop
from .integrators import integrate
from .parts import Exchange, Part

Coupling = dict[str, Any]


class Given(NamedTuple):
    """What the rates depend on beside time and states."""

    p: dict[str, Array]
    inputs: dict[str, Array]


class Interface(NamedTuple):
    """What parts are given of one another in a window of several nodes.

    Args:
        seen: state -> its values at the nodes after the start, `(nodes, ...)`.
        amounts: exchange -> what crosses between the nodes, `(nodes, ...)`; only of parts solved at the same time.
    """

    seen: dict[str, Array]
    amounts: dict[str, Array]


class Layout(NamedTuple):
    """Into how many intervals a window is divided for what parts see, and whether all parts are solved at once."""

    nodes: int
    concurrent: bool


class Window(NamedTuple):
    """Parts through a window: the change of the state, what parts show of themselves, and whether all were solved."""

    change: Coupling
    found: Interface
    solved: Array


@dataclass(frozen=True, eq=False)
class Equations:
    """Parts and exchanges, with what each part sees of the others.

    Args:
        states: part -> names of its states and of what it shows. used: exchange -> what of these its rate depends on.
        kind: of loops whose length depends on values, see `chebyshev.loop`.
    """

    parts: Mapping[str, Part]
    exchanges: Mapping[str, Exchange]
    states: Mapping[str, tuple[str, ...]]
    used: Mapping[str, tuple[str, ...]]
    kind: Loop = "lax"

    @classmethod
    def of(
        cls, parts: Mapping[str, Part], exchanges: Mapping[str, Exchange], given: Given, t, kind: Loop = "lax"
    ) -> "Equations":
        """The same for parameters and inputs of these names and shapes."""
        starts, used = {name: part.visible(start_of(part, given), given.p) for name, part in parts.items()}, {}
        for name, exchange in exchanges.items():
            y = {**starts[exchange.source.part], **starts[exchange.target.part]}
            closed = jax.make_jaxpr(lambda y, e=exchange: jnp.asarray(e.rate(t, y, *given), float))(y)
            used[name] = names_used(closed, tuple(y))
        return cls(parts, exchanges, {name: tuple(y) for name, y in starts.items()}, used, kind)

    def start(self, given: Given, t) -> Coupling:
        """The state at the start."""
        states = {name: start_of(part, given) for name, part in self.parts.items()}
        crossed = {
            name: jnp.zeros(jnp.shape(jax.eval_shape(lambda n=name: self.rate(n, t, states, given))))
            for name in self.exchanges
        }
        supplied = {
            name: {quantity: jnp.zeros(()) for quantity in part.units}
            for name, part in self.parts.items()
            if part.sources is not None
        }
        return {"states": states, "crossed": crossed, "supplied": supplied}

    def leaps(self, t, h, z: Coupling, given: Given, key) -> Coupling:
        """What chance changes the state by at the start of a window."""
        change, flat = jax.tree.map(jnp.zeros_like, z), self.visible(z["states"], given)
        for place, (name, part) in enumerate(self.parts.items()):
            if part.leap is None:
                continue
            mine = {each: flat[each] for each in (*part.reads, *self.states[name])}
            moved = part.leap(t, h, mine, *given, jax.random.fold_in(key, place))
            nothing = change["states"][name]
            for state, by in moved.items():
                nothing[state] = jnp.broadcast_to(jnp.asarray(by, float), nothing[state].shape)
        return change

    # --- rates

    def visible(self, states: Mapping[str, Values], given: Given) -> dict[str, Array]:
        """The states of all parts and what they show, by name."""
        return flattened({name: part.visible(states[name], given.p) for name, part in self.parts.items()})

    def rate(self, name: str, t, states: Mapping[str, Values], given: Given) -> Array:
        """Amount by time of an exchange."""
        y = flattened({part: self.parts[part].visible(states[part], given.p) for part in self.exchanges[name].parts})
        return jnp.asarray(self.exchanges[name].rate(t, y, *given), float)

    def own_rates(self, name: str, t, y: Values, others: Values, given: Given) -> tuple[Values, Values]:
        """Rates of the states of a part, and of what its sources make."""
        part = self.parts[name]
        visible = {**{state: others[state] for state in part.reads}, **part.visible(y, given.p)}
        rates = part.rhs(t, visible, *given)
        rates = {
            state: jnp.broadcast_to(jnp.asarray(rates[state], float), jnp.shape(value)) for state, value in y.items()
        }
        if part.sources is None:
            return rates, {}
        made = part.sources(t, visible, *given)
        return rates, {quantity: jnp.asarray(made.get(quantity, 0.0), float) for quantity in part.units}

    def spread(self, name: str, y: Values, flows: Values, given: Given) -> Values:
        """Flows, by exchange, as they lie over the states of a part."""
        visible = self.parts[name].visible(y, given.p)
        return {each: self.exchanges[each].spread(flow, name, visible, given.p) for each, flow in flows.items()}

    def with_flows(self, name: str, rates: Values, y: Values, spread: Values, given: Given) -> Values:
        """Rates of the states of a part with what comes and goes through its exchanges, as it lies over them."""
        rates, part = dict(rates), self.parts[name]
        for each, flow in spread.items():
            exchange = self.exchanges[each]
            place = exchange.place(name)
            change = exchange.sign(name) * flow / part.capacity(exchange.quantity, place, y, given.p)
            rates[place.state] = place.added(rates[place.state], change)
        return rates

    def joint(self, active: Sequence[str], evaluated: Sequence[str]) -> Callable[[Array, Coupling, Given], Coupling]:
        """Rates of the whole state from the own rates of some parts and from some exchanges."""

        def field(t, z: Coupling, given: Given) -> Coupling:
            states = z["states"]
            flat = self.visible(states, given)
            flows = {name: self.rate(name, t, states, given) for name in evaluated}
            rates: Coupling = {}
            supplied: Coupling = {}
            for name, y in states.items():
                own = jax.tree.map(jnp.zeros_like, y)
                if name in active:
                    own, made = self.own_rates(name, t, y, flat, given)
                    supplied |= {name: made} if made else {}
                through = {each: flow for each, flow in flows.items() if name in self.exchanges[each].parts}
                rates[name] = self.with_flows(name, own, y, self.spread(name, y, through, given), given)
            nothing = jax.tree.map(jnp.zeros_like, z)
            return {
                "states": rates,
                "crossed": {**nothing["crossed"], **flows},
                "supplied": {**nothing["supplied"], **supplied},
            }

        return field

    def flow(self, field, integrator: str, t, z: Coupling, h, count: int, given: Given) -> tuple[Coupling, Array]:
        """The change of the state in a time h under a field of the whole state, and whether its steps were solved."""
        flat, unravel = ravel_pytree(z)

        def rates(t, change, known):
            flat, given = known
            return ravel_pytree(field(t, unravel(flat + change), given))[0]

        nothing, size = jnp.zeros_like(flat), _sizes(z, "states")
        change, solved = integrate(integrator, rates, t, nothing, h, count, (flat, given), size, kind=self.kind)
        return unravel(change), solved

    # --- windows of parts that are solved by themselves

    def evaluator(self, exchange: str) -> str:
        """The part that evaluates an exchange: that of the two which is solved first."""
        return next(name for name in self.parts if name in self.exchanges[exchange].parts)

    def needed(self, name: str) -> tuple[str, ...]:
        """States of other parts that a part needs: those that it reads, and those in the exchanges it evaluates."""
        mine = self.states[name]
        through = [state for each, used in self.used.items() if self.evaluator(each) == name for state in used]
        return tuple(dict.fromkeys(state for state in (*self.parts[name].reads, *through) if state not in mine))

    def frozen(self, t, z: Coupling, h, given: Given, layout: Layout) -> Interface:
        """What parts are given where nothing is known of the window but its start."""
        (nodes, concurrent), names, ahead = layout, [*self.parts], set()
        for place, name in enumerate(names):
            earlier = {state for other in names[:place] for state in self.states[other]}
            ahead |= {state for state in self.needed(name) if concurrent or state not in earlier}
        flat = self.visible(z["states"], given)
        seen = {state: _repeated(flat[state], nodes) for state in sorted(ahead)}
        amounts = {}
        if concurrent:
            amounts = {n: _repeated(h / nodes * self.rate(n, t, z["states"], given), nodes) for n in self.exchanges}
        return Interface(seen, amounts)

    def sizes(self, z: Coupling, given: Given, before: Interface, after: Interface) -> Interface:
        """What each kind of number of an interface is small against: states, and the contents that exchange."""

        def content(name: str, quantity: str):
            content = self.parts[name].content
            assert content is not None
            return jnp.abs(content(z["states"][name], given.p)[quantity])

        def largest(one, other):
            return jnp.maximum(jnp.max(jnp.abs(one)), jnp.max(jnp.abs(other)))

        sizes = jax.tree.map(largest, before, after)
        for each, exchange in self.exchanges.items():
            if each in sizes.amounts:
                sides = [content(name, exchange.quantity) for name in exchange.parts]
                sizes.amounts[each] = jnp.max(jnp.stack([sizes.amounts[each], *sides]))
        return jax.tree.map(lambda size, value: jnp.broadcast_to(size, jnp.shape(value)), sizes, after)

    def window(
        self, interface: Interface, t, z: Coupling, h, given: Given, count: Mapping[str, int], layout: Layout
    ) -> Window:
        """Solves the parts through a window, each with `count` steps between two nodes."""
        flat = self.visible(z["states"], given)
        known = {state: jnp.concatenate([flat[state][None], after]) for state, after in interface.seen.items()}
        amounts, solved = dict(interface.amounts), jnp.asarray(True)
        found_amounts: Coupling = {}
        found: Coupling = {}
        states: Coupling = {}
        supplied: Coupling = {}
        for name in self.parts:
            path, change, own, sound = self._part(name, t, z, h, layout.nodes, count[name], known, amounts, given)
            found |= path
            found_amounts |= own
            states[name], made = change["y"], change["supplied"]
            supplied |= {name: made} if made else {}
            if not layout.concurrent:
                known |= path
                amounts |= own
            solved = solved & sound
        crossed = {name: jnp.sum(each, axis=0) for name, each in amounts.items()}
        ahead = {state: found[state][1:] for state in interface.seen}
        again = Interface(ahead, {name: found_amounts[name] for name in interface.amounts})
        return Window({"states": states, "crossed": crossed, "supplied": supplied}, again, solved)

    def _part(self, name: str, t, z: Coupling, h, nodes: int, count: int, known, amounts, given: Given):
        """Paths `(nodes + 1, ...)` of the states of a part, changes, amounts of the exchanges it evaluates."""
        part, length, y, at_start = self.parts[name], h / nodes, z["states"][name], self.visible(z["states"], given)
        evaluated = [each for each in self.exchanges if self.evaluator(each) == name]
        through = {each: amounts[each] for each, e in self.exchanges.items() if name in e.parts and each in amounts}
        sides = {state: (known[state][:-1], known[state][1:]) for state in self.needed(name)}
        nothing = {each: jnp.zeros_like(z["crossed"][each]) for each in evaluated}
        start = {"y": jax.tree.map(jnp.zeros_like, y), "supplied": z["supplied"].get(name, {})}
        start["supplied"] = jax.tree.map(jnp.zeros_like, start["supplied"])
        unravel = ravel_pytree({**start, "crossed": nothing})[1]
        size = _sizes({**start, "y": y, "crossed": nothing}, "y")
        radius = None if part.radius is None else part.radius(y, given.p)

        def rates(t, change, data):
            begin, length, sides, flows, at_start, given = data
            share = (t - begin) / length
            others = {state: before + share * (after - before) for state, (before, after) in sides.items()}
            own = {state: at_start[state] + moved for state, moved in unravel(change)["y"].items()}
            # a rate may ask for states that it does not depend on
            visible = {**at_start, **others, **part.visible(own, given.p)}
            rates, made = self.own_rates(name, t, own, others, given)
            live = {each: jnp.asarray(self.exchanges[each].rate(t, visible, *given), float) for each in evaluated}
            rates = self.with_flows(name, rates, own, {**self.spread(name, own, live, given), **flows}, given)
            return ravel_pytree({"y": rates, "supplied": made, "crossed": live})[0]

        def interval(change, row):
            number, sides, crossing = row
            begin = t + number * length
            # spread once, by where things are at the start of the window
            flows = self.spread(name, y, {each: amount / length for each, amount in crossing.items()}, given)
            data, flat = (begin, length, sides, flows, at_start, given), ravel_pytree({**change, "crossed": nothing})[0]
            settings = (size, radius, self.kind)
            after, sound = integrate(part.integrator, rates, begin, flat, length, count, data, *settings)
            after = unravel(after)
            crossed = after.pop("crossed")
            return after, (after["y"], crossed, sound)

        change, (moved, crossed, sound) = lax.scan(interval, start, (jnp.arange(nodes), sides, through))
        path = {state: y[state] + jnp.concatenate([start["y"][state][None], after]) for state, after in moved.items()}
        return jax.vmap(lambda y: part.visible(y, given.p))(path), change, crossed, jnp.all(sound)


def start_of(part: Part, given: Given) -> dict[str, Array]:
    """The initial states of a part."""
    return {name: jnp.asarray(value, float) for name, value in part.initial(*given).items()}


def flattened(states: Mapping[str, Mapping[str, Any]]) -> dict[str, Array]:
    """The states of all parts by their own names."""
    return {state: value for y in states.values() for state, value in y.items()}


def added(z: Coupling, change: Coupling, lost: Coupling) -> tuple[Coupling, Coupling]:
    """The state after a change, and what rounding has lost of that, to be added with the next.

    Over many windows plain sums would lose more than the balance may (compensated summation: Kahan 1965,
    doi:10.1145/363707.363723).
    """
    step = jax.tree.map(jnp.add, change, lost)
    after = jax.tree.map(jnp.add, z, step)
    return after, jax.tree.map(lambda step, after, before: step - (after - before), step, after, z)


def _sizes(tree: dict, states: str) -> Array:
    """Sizes of states, in one array with what is only counted."""
    counted = jax.tree.map(lambda value: jnp.full(jnp.shape(value), jnp.inf), tree)
    return ravel_pytree({**counted, states: jax.tree.map(jnp.abs, tree[states])})[0]


def _repeated(value, count: int) -> Array:
    return jnp.broadcast_to(value, (count, *jnp.shape(value)))
