"""What is where, and whether anything was made or lost on the way: the balance of every coupled run."""

import jax.numpy as jnp
from jaxtyping import Array

from ..annotations import Values
from .equations import Coupling, Equations, Given


def accounts(equations: Equations, z: Coupling, start: Coupling, given: Given) -> dict[str, Array]:
    """Contents, what has crossed, and residuals of the balance since the start, by the names that `Coupled` says."""
    found, totals = {}, {}
    for name, part in equations.parts.items():
        contents, before = _content(part, z["states"][name], given), _content(part, start["states"][name], given)
        for quantity in part.units:
            received = _received(equations, name, quantity, z)
            made = z["supplied"].get(name, {}).get(quantity, jnp.zeros(()))
            change = contents[quantity] - before[quantity]
            found[f"content_{name}_{quantity}"] = contents[quantity]
            found[f"residual_{name}_{quantity}"] = change - received - made
            sums = totals.get(quantity, (0.0, 0.0))
            totals[quantity] = sums[0] + contents[quantity], sums[1] + change - made
    for quantity, (content, residual) in totals.items():
        found[f"content_{quantity}"], found[f"residual_{quantity}"] = content, residual
    return found | {f"crossed_{name}": jnp.sum(amount) for name, amount in z["crossed"].items()}


def account_names(equations: Equations) -> list[str]:
    """The names of what `accounts` gives."""
    parts = [(name, quantity) for name, part in equations.parts.items() for quantity in part.units]
    of_parts = [f"{what}_{name}_{quantity}" for name, quantity in parts for what in ("content", "residual")]
    of_all = [f"{what}_{quantity}" for _, quantity in parts for what in ("content", "residual")]
    return [*of_parts, *dict.fromkeys(of_all), *(f"crossed_{name}" for name in equations.exchanges)]


def _content(part, y: Values, given: Given) -> dict[str, Array]:
    if part.content is None:
        return {}
    return {quantity: jnp.asarray(value, float) for quantity, value in part.content(y, given.p).items()}


def _received(equations: Equations, name: str, quantity: str, z: Coupling) -> Array:
    """What has come into a part through its exchanges, less what has gone."""
    crossings = [
        exchange.sign(name) * jnp.sum(z["crossed"][each])
        for each, exchange in equations.exchanges.items()
        if exchange.quantity == quantity and name in exchange.parts
    ]
    return jnp.sum(jnp.stack([jnp.zeros(()), *crossings]))
