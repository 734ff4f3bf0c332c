"""The variational equations S' = J S + f_q, as both methods evaluate them in their stages."""

from ..language import fill, native
from .evaluation import at, inside_step, sign_of_ends
from .records import Work
from .sparse import add_products


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
