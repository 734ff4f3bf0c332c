"""What is wrong with the description of a coupled model, all of it at once."""

from collections import Counter
from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ..annotations import Values
from ..design import Design
from ..errors import nearest
from ..systems.protocol import names_used
from ..units import dimension_of, unit_factor, unit_finding
from .equations import Equations, Given, flattened, start_of
from .parts import Exchange, Part
from .schedules import Schedule

# kind -> unit of the same dimension; by length, area or volume where a model has fewer dimensions
UNITS_OF_KINDS = {"momentum": "N*s", "energy": "J"}
# A slope that moves by more than this share, when a state does, is no constant.
NOT_LINEAR = 1e-9
# Of amounts that are spread over a state, the share that may be missing.
NOT_KEPT = 1e-12


def description_findings(
    parts: Mapping[str, Part], exchanges: Mapping[str, Exchange], schedule, time_unit: str
) -> list[str]:
    """What can be said without calling a function."""
    findings = [] if parts else ["no parts; give at least one."]
    findings += [
        f"the part {name!r} is {part!r}; give a Part." for name, part in parts.items() if not isinstance(part, Part)
    ]
    findings += [
        f"the exchange {name!r} is {each!r}; give an Exchange."
        for name, each in exchanges.items()
        if not isinstance(each, Exchange)
    ]
    if not isinstance(schedule, Schedule):
        findings.append(f"the schedule is {schedule!r}; give one of `uqbench.coupling`, such as Strong(step=0.1).")
    findings += [
        f"the name {name!r} is no identifier." for name in (*parts, *exchanges) if not str(name).isidentifier()
    ]
    findings += [f"{name!r} is both a part and an exchange." for name in parts if name in exchanges]
    findings += [f"time: {text}" for text in [unit_finding(time_unit)] if text]
    if findings:
        return findings
    for name, part in parts.items():
        findings += [
            f"{name}: {quantity}: {text}" for quantity, unit in part.units.items() if (text := unit_finding(unit))
        ]
    for name, exchange in exchanges.items():
        findings += [f"exchange {name!r}: {text}" for text in _exchange_findings(exchange, parts, time_unit)]
    return findings + _unused_findings(parts, exchanges)


def _exchange_findings(exchange: Exchange, parts: Mapping[str, Part], time_unit: str) -> list[str]:
    findings = []
    for role, place in (("leaves", exchange.source), ("enters", exchange.target)):
        if place.part not in parts:
            findings.append(f"it {role} the part {place.part!r}, which does not exist; {nearest(place.part, [*parts])}")
        elif parts[place.part].content is None:
            findings.append(f"the part {place.part!r} has no `content`; say how much {exchange.quantity!r} is in it.")
        elif exchange.quantity not in parts[place.part].units:
            known = nearest(exchange.quantity, [*parts[place.part].units])
            findings.append(f"the part {place.part!r} has no content of {exchange.quantity!r}; {known}")
    if text := unit_finding(exchange.unit):
        return [*findings, text]
    if findings:
        return findings
    rate = f"({exchange.unit or 'dimensionless'})*({time_unit or 'dimensionless'})"
    for name in exchange.parts:
        unit = parts[name].units[exchange.quantity]
        factor = unit_factor(rate, unit or "dimensionless") if not unit_finding(unit) else 1.0
        if factor is None or abs(factor - 1) > 1e-12:
            apart = "of another dimension" if factor is None else f"{factor:g} times as much"
            findings.append(
                f"its rate {exchange.unit!r} over {time_unit!r} is {apart}, in the part {name!r} {unit!r} is counted."
            )
    if exchange.kind in UNITS_OF_KINDS and not _is_of_kind(rate, UNITS_OF_KINDS[exchange.kind]):
        findings.append(f"its unit {exchange.unit!r} is not that of {exchange.kind} by time.")
    return findings


def _is_of_kind(unit: str, wanted: str) -> bool:
    known = dimension_of(unit)
    return not known or any(known == dimension_of(f"({wanted})/m**{power}") for power in range(4))


def _unused_findings(parts: Mapping[str, Part], exchanges: Mapping[str, Exchange]) -> list[str]:
    """Contents that exchange with nothing, while another part counts the same quantity."""
    counted = Counter(quantity for part in parts.values() for quantity in part.units)
    moved = {(name, exchange.quantity) for exchange in exchanges.values() for name in exchange.parts}
    return [
        f"the part {name!r} counts {quantity!r} and no exchange reaches it, though other parts count it too."
        for name, part in parts.items()
        for quantity in part.units
        if counted[quantity] > 1 and (name, quantity) not in moved
    ]


def function_findings(
    parts: Mapping[str, Part], exchanges: Mapping[str, Exchange], theta: Values, design: Design
) -> list[str]:
    """What the functions say at the medians of the parameters."""
    t = jnp.asarray(design.start)
    with jax.ensure_compile_time_eval():
        given = Given({name: jnp.asarray(value, float) for name, value in theta.items()}, dict(design.inputs))
        starts = {name: start_of(part, given) for name, part in parts.items()}
        shown = {
            name: {} if part.shows is None else dict(part.shows(starts[name], given.p)) for name, part in parts.items()
        }
        findings = _name_findings(parts, starts, shown) + _place_findings(exchanges, starts)
        if findings:
            return findings
        visible = {name: {**starts[name], **shown[name]} for name in parts}
        for name, part in parts.items():
            findings += _part_findings(name, part, starts, visible, t, given)
            findings += [
                f"`leap` of {name!r}: {text}"
                for text in _leap_findings(part, starts[name], flattened(visible), t, given)
            ]
        for name, exchange in exchanges.items():
            findings += [f"exchange {name!r}: {text}" for text in _capacity_findings(exchange, parts, starts, given)]
        if not findings:
            equations = Equations.of(parts, exchanges, given, t)
            findings += _rate_findings(equations, starts, visible, t, given)
    return findings


def _name_findings(parts: Mapping[str, Part], starts, shown) -> list[str]:
    counts = Counter(state for group in (starts, shown) for y in group.values() for state in y)
    findings = [
        f"the state {state!r} is in {count} parts, or shown by them; give everything a name of its own."
        for state, count in counts.items()
        if count > 1
    ]
    for name, part in parts.items():
        for state in part.reads:
            if state not in counts:
                findings.append(f"the part {name!r} reads {state!r}, which no part has; {nearest(state, [*counts])}")
            elif state in starts[name]:
                findings.append(f"the part {name!r} reads its own state {state!r}; it has that anyway.")
    return findings


def _place_findings(exchanges: Mapping[str, Exchange], starts) -> list[str]:
    findings = []
    for name, exchange in exchanges.items():
        for place in (exchange.source, exchange.target):
            if place.state not in starts[place.part]:
                known = nearest(place.state, [*starts[place.part]])
                findings.append(f"exchange {name!r}: the part {place.part!r} has no state {place.state!r}; {known}")
            elif place.entry is not None:
                shape = starts[place.part][place.state].shape
                if len(shape) != 1 or not -shape[0] <= place.entry < shape[0]:
                    findings.append(
                        f"exchange {name!r}: {place.state!r} of the shape {shape} has no entry {place.entry}."
                    )
    return findings


def _part_findings(name: str, part: Part, starts, visible_of, t, given: Given) -> list[str]:
    y, flat = starts[name], flattened(visible_of)
    visible = {**{state: flat[state] for state in part.reads}, **visible_of[name]}
    rates = part.rhs(t, visible, *given)
    findings = [f"`rhs` of {name!r} has no rate for {state!r}." for state in y if state not in rates]
    findings += [
        f"`rhs` of {name!r} has a rate for {state!r}, which is not its own." for state in rates if state not in y
    ]
    findings += [
        f"`rhs` of {name!r} has the shape {jnp.shape(rates[state])} for {state!r}, which has {y[state].shape}."
        for state in y
        if state in rates and jnp.shape(rates[state]) not in ((), y[state].shape)
    ]
    for role, found in (
        ("content", part.content and part.content(y, given.p)),
        ("sources", part.sources and part.sources(t, visible, *given)),
    ):
        if found is not None:
            findings += [
                f"`{role}` of {name!r} has {quantity!r}, which has no unit."
                for quantity in found
                if quantity not in part.units
            ]
            findings += [
                f"`{role}` of {name!r} has the shape {jnp.shape(value)} for {quantity!r}; give one number."
                for quantity, value in found.items()
                if jnp.shape(value)
            ]
            if role == "content":
                findings += [
                    f"`content` of {name!r} lacks {quantity!r}." for quantity in part.units if quantity not in found
                ]
    return findings


def _leap_findings(part: Part, y, flat, t, given: Given) -> list[str]:
    if part.leap is None:
        return []
    visible = {**{state: flat[state] for state in part.reads}, **part.visible(y, given.p)}
    leaps = part.leap(t, jnp.ones(()), visible, *given, jax.random.key(0))
    findings = [f"it moves {state!r}, which is no state of the part." for state in leaps if state not in y]
    findings += [
        f"it has the shape {jnp.shape(by)} for {state!r}, which has {y[state].shape}."
        for state, by in leaps.items()
        if state in y and jnp.shape(by) not in ((), y[state].shape)
    ]
    if (content := part.content) is not None:
        closed = jax.make_jaxpr(lambda y: content(y, given.p))(y)
        counted = [state for state in names_used(closed, tuple(y)) if state in leaps]
        findings += [
            f"it moves {state!r}, which the content counts: what chance makes has no source." for state in counted
        ]
    return findings


def _capacity_findings(exchange: Exchange, parts: Mapping[str, Part], starts, given: Given) -> list[str]:
    findings = []
    for place in (exchange.source, exchange.target):
        part, y = parts[place.part], starts[place.part]
        moved = {state: value + 0.5 * jnp.abs(value) + 1.0 for state, value in y.items()}
        slopes = [np.asarray(part.capacity(exchange.quantity, place, at, given.p)) for at in (y, moved)]
        what = f"the content of {exchange.quantity!r} in the part {place.part!r}"
        sizes = np.maximum(np.abs(slopes[0]), np.abs(slopes[1]))
        if not np.all(sizes):
            findings.append(f"{what} does not depend on {place.state!r}, through which it would change.")
        elif np.any(np.abs(slopes[1] - slopes[0]) > NOT_LINEAR * sizes):
            findings.append(
                f"{what} is not linear in the states, so that no step would keep it; take {exchange.quantity!r} itself "
                f"as the state {place.state!r}."
            )
    return findings


def _rate_findings(equations: Equations, starts, visible, t, given: Given) -> list[str]:
    findings = []
    for name, exchange in equations.exchanges.items():
        rate = equations.rate(name, t, starts, given)
        for place in (exchange.source, exchange.target):
            there = place.of(starts[place.part][place.state]).shape
            spread = partial(exchange.spread, part=place.part, y=visible[place.part], p=given.p)
            shape = jax.eval_shape(spread, rate).shape
            if shape != there:
                findings.append(
                    f"exchange {name!r}: its rate has the shape {shape}, {place.state!r} has {there} where it goes."
                )
            else:
                findings += [f"exchange {name!r} at {place}: {text}" for text in _spread_findings(spread, rate.shape)]
    return findings


def _spread_findings(spread, shape) -> list[str]:
    """Whether amounts keep their sum and are spread linearly, of which mass would be lost or made."""
    one, other = (np.sin(1.0 + start + np.arange(np.prod(shape, dtype=int))).reshape(shape) for start in (0.0, 0.5))
    lies = [np.asarray(spread(jnp.asarray(amounts))) for amounts in (one, other, one - 2 * other)]
    kept = [np.sum(amounts) - np.sum(lie) for amounts, lie in zip((one, other), lies[:2], strict=True)]
    size = np.sum(np.abs(one)) + np.sum(np.abs(other))
    missing = np.max(np.abs(kept)) / size
    if missing > NOT_KEPT:
        return [f"what is spread over the state is {missing:.2g} of the amounts more or less than they are."]
    if np.max(np.abs(lies[2] - lies[0] + 2 * lies[1])) > NOT_KEPT * size:
        return ["amounts are not spread linearly: twice as much does not lie where one did."]
    return []
