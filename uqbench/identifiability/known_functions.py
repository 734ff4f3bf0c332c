"""Known functions of time and inputs as known inputs.

sin(2 pi t) or exp(-t) contain nothing unknown, and each becomes an input of its own, a generic function of time; so
does WT**0.75 of a body weight, a generic number. What is rational otherwise stays rational. A relation between
several of them (squares of sine and cosine add up to one) is lost with that, so the rank of the exact equations has
to be that of these.
"""

from dataclasses import replace

from ..names import TIME
from ..symbols import Program
from ..symbols.program import arguments


def as_inputs(program: Program) -> tuple[Program, tuple[str, ...]]:
    """The program with an input in place of each known function of time and inputs, and the names of those of time.

    The program itself where there is none.
    """
    known = {TIME, *program.inputs}
    roots = [*program.initial.values(), *program.rhs.values(), *program.observe.values()]
    cone = program.cone(roots)
    symbols: dict[int, frozenset[str]] = {}
    irrational: dict[int, bool] = {}
    for position in cone:
        operation = program.operations[position]
        own = frozenset({operation[1]}) if operation[0] == "symbol" else frozenset()
        symbols[position] = own.union(*(symbols[index] for index in arguments(operation)))
        inside = any(irrational[index] for index in arguments(operation))
        irrational[position] = inside or operation[0] in ("function", "power")
    chosen = {
        position for position in cone if irrational[position] and symbols[position] and symbols[position] <= known
    }
    if not chosen:
        return program, ()
    # the largest ones only: what they are made of is not looked at any more
    seen = {index for position in cone if position not in chosen for index in arguments(program.operations[position])}
    largest = [position for position in cone if position in chosen and (position in seen or position in roots)]
    taken = {*program.parameters, *program.inputs, *program.states, TIME}
    operations, names = list(program.operations), {}
    for position in largest:
        name = f"known_{position}"
        while name in taken:
            name += "_"
        operations[position], names[position] = ("symbol", name), name
    moving = tuple(name for position, name in names.items() if TIME in symbols[position])
    return replace(program, operations=tuple(operations), inputs=(*program.inputs, *names.values())), moving
