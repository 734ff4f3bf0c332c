"""The variational equations S' = J S + f_q, as both methods evaluate them in their stages."""

from ..language import fill, native
from .evaluation import at, inside_step, sign_of_ends
from .records import Work
from .sparse import add_products, vanishes


@native
def slopes_of_stage(work: Work, time: float, i: int) -> None:
    """J S + f_q at stage `i` and its time; its sensitivities are in `s_argument`, its state in `arguments`."""
    model = work.model
    n = work.n
    p = work.p
    d = model.directions
    target = work.s_stages[i * n * p :]
    s = work.s_argument
    z = work.past_d
    values = work.buffer
    fill(target, 0.0, n * p)
    at(work, inside_step(work, time), work.arguments[i * n :])
    sign_of_ends(work)
    model.variation(work.x, values, work.scratch)
    add_products(target, values, model.jacobian_rows, model.jacobian_columns, model.jacobian_count, n, s, p, z, d)
    forcing = values[model.jacobian_count :]
    add_products(target, forcing, model.forcing_rows, model.forcing_columns, model.forcing_count, n, s, p, z, d)
    if work.keep_sign == 1:
        for k in range(n):
            if is_gone(work, k) and vanishes(s[k * p :], p):
                fill(target[k * p :], 0.0, p)


@native(inline=True)
def is_gone(work: Work, k: int) -> bool:
    """Whether a state comes to zero in this step, or near enough that no digit of it is known."""
    size = max(abs(work.y[k]), abs(work.new[k]))
    return work.y[k] != 0.0 and (work.new[k] == 0.0 or size <= work.floor * work.rtol * work.scale[k])


@native
def let_go(work: Work) -> None:
    """Sensitivities of states that are gone, and that have nearly gone with them, are zero from here on.

    A tank that runs empty moves less and less with all parameters, but the slope of its outflow, a root, grows without
    bound.
    """
    p = work.p
    for k in range(work.n):
        if is_gone(work, k):
            s = work.s[k * p :]
            largest = work.s_scale[k * p :]
            small = 1
            for c in range(work.model.directions):
                if not abs(s[c]) <= work.rtol * largest[c]:
                    small = 0
            if small == 1:
                fill(s, 0.0, p)
