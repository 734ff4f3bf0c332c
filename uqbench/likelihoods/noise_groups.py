"""Outputs whose noise is of one family are evaluated together.

The number of operations that are traced and compiled, and with it the time that this takes, does then not grow with
the number of outputs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..distributions import Distribution
from ..distributions.expressions import Expression
from ..model import Model
from .censoring import Limits
from .layout import Observations


class NoiseGroup(NamedTuple):
    """Rows of all outputs whose noise is of one family with the same kinds of arguments; evaluated at once.

    Args:
        noise: the family. Its arguments are numbers, where these are common to all, or names of arguments: its own,
            or that of an earlier argument that has the same value.
        aliases: output -> name in its own noise -> name in `noise`.
        rows: output -> its rows among those of the group.
        run, when, value: of each row, `(rows,)`.
        limits: of each row, where any has some.
        outputs: name -> index of the output that it stands for at each row, `(rows,)`.
        parameters: name -> parameters, and the index among them at each row, `(rows,)`.
        constants: name -> numbers, `(rows,)`: those of columns of the table, too.
        formulas: name -> output -> the formula of its noise.
        bounded: those of `outputs` and `formulas` whose domain has an edge.
    """

    noise: Distribution
    aliases: dict[str, dict[str, str]]
    rows: dict[str, slice]
    run: np.ndarray
    when: np.ndarray
    value: np.ndarray
    limits: Limits | None
    outputs: dict[str, np.ndarray]
    parameters: dict[str, tuple[tuple[str, ...], np.ndarray]]
    constants: dict[str, np.ndarray]
    formulas: dict[str, dict[str, Expression]]
    bounded: tuple[str, ...]


def noise_groups(observations: Observations) -> tuple[NoiseGroup, ...]:
    """The rows of a table, by output, in groups that are evaluated at once; built on the host."""
    model, rows = observations.model, observations.rows
    members: dict[tuple, list[str]] = {}
    for output in rows:
        noise = model.noise[output]
        values = list(noise.arguments.values())
        kinds = tuple(
            # the first argument that is the same name: both are one value, which is moved inside both domains
            (argument, _kind(model, value), values.index(value) if isinstance(value, str) else -1)
            for argument, value in noise.arguments.items()
        )
        members.setdefault((type(noise), kinds), []).append(output)
    return tuple(_noise_group(observations, outputs) for outputs in members.values())


def _kind(model: Model, argument: float | str) -> str:
    if not isinstance(argument, str):
        return "number"
    if argument in model.noise_expressions:
        return "formula"
    return "output" if argument in model.units else "column" if argument in model.columns else "parameter"


def _noise_group(observations: Observations, outputs_of: Sequence[str]) -> NoiseGroup:
    model, members = observations.model, {output: observations.rows[output] for output in outputs_of}
    run, when, value, *limits = (np.concatenate(parts) for parts in zip(*members.values(), strict=True))
    lengths = [len(rows.run) for rows in members.values()]
    ends = np.cumsum(lengths)
    rows = {name: slice(int(end) - length, int(end)) for name, length, end in zip(members, lengths, ends, strict=True)}
    noises = [model.noise[name] for name in members]
    first, domains = noises[0].arguments, noises[0].domains
    arguments: dict[str, float | str] = {}
    outputs, parameters, constants, formulas, bounded = {}, {}, {}, {}, []
    position = {name: index for index, name in enumerate(model.series)}
    for argument, given in first.items():
        values, kind = [noise.arguments[argument] for noise in noises], _kind(model, given)
        if kind == "number":
            common = len(set(values)) == 1
            arguments[argument] = given if common else argument
            if not common:
                constants[argument] = np.repeat(values, lengths)
            continue
        name = arguments[argument] = next(earlier for earlier, value in first.items() if value == given)
        domain = domains[argument]
        has_edge = domain.whole or np.isfinite([domain.lower, domain.upper]).any() or argument in ("lower", "upper")
        if kind == "output":
            outputs[name] = np.repeat([position[value] for value in values], lengths)
            bounded += [name] if has_edge and name not in bounded else []
        elif kind == "formula":
            formulas[name] = {
                member: model.noise_expressions[text] for member, text in zip(members, values, strict=True)
            }
            bounded += [name] if has_edge and name not in bounded else []
        elif kind == "column":
            columns = [observations.columns[member][column] for member, column in zip(members, values, strict=True)]
            constants[name] = np.concatenate(columns)
        else:
            distinct = list(dict.fromkeys(values))
            parameters[name] = tuple(distinct), np.repeat([distinct.index(value) for value in values], lengths)
    named = {argument: name for argument, name in arguments.items() if isinstance(first[argument], str)}
    aliases = {
        member: {noise.arguments[argument]: name for argument, name in named.items()}
        for member, noise in zip(members, noises, strict=True)
    }
    shared = type(noises[0])(**arguments)
    within = Limits(*limits) if any(each.limited for each in members.values()) else None
    return NoiseGroup(
        shared, aliases, rows, run, when, value, within, outputs, parameters, constants, formulas, tuple(bounded)
    )
