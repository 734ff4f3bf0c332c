"""One step by whichever method the time scales ask for, and what lies inside it.

The choice is made while solving, in both directions (Petzold 1983, doi:10.1137/0904010; Hairer and Wanner 1996,
section IV.2): an explicit step whose length times the fastest rate comes to the edge of its region of stability is
held back by stiffness; an implicit step far inside that region costs more than it needs. Where the slopes of the
right-hand side are no numbers (x^n with n < 1 at zero) only the explicit method has a step.
"""

from ..language import WIDTH, Vector, copy, fill, isfinite, native
from . import rodas5p, tsit5
from .evaluation import between, finite, inside_step, linearise_at, rate_at, rate_at_argument
from .records import AUTO, Step, Work
from .sparse import substitute
from .tolerance import tolerance

# Tsitouras' region of stability reaches to -3.5 on the real axis; what is held back there moves about below.
STIFF = 1.6
STIFF_STEPS = 2
# Below this a step counts against stiffness.
EASY = 1.0
# From where on the estimate of two stages is checked with the Jacobian, and how many products that takes.
SUSPECT, PRODUCTS = 0.8, 8
# Explicit steps between two looks at the Jacobian: sensitivities may be stiff while the states are at rest.
LOOK = 8
# Implicit steps in a row that an explicit method would have taken as well.
SMOOTH = 1.0
SMOOTH_STEPS = 12
# Explicit steps after which slopes that were no numbers are tried again.
RETRY = 20
# Points over the whole time at which a right-hand side that uses the time is compared with its interpolant: what is
# narrower than their distance, and left out by all stages, is found with `max_step` only.
PROBES_OF_SPAN, MOST_PROBES = 500, 500
TINY = 1e-290


@native
def attempt(work: Work, h: float) -> None:
    """Takes a step of length `h`: `new` and `error`, which may be no numbers."""
    work.step_implicit = work.implicit
    work.stages_place = -1
    work.factors_place = -1
    work.measured = 0
    work.has_residual = 0
    if work.implicit == 1:
        if rodas5p.step(work, h) == 1:
            return
        if work.method == AUTO:
            work.implicit = 0
            work.stay_explicit = RETRY
            work.step_implicit = 0
        else:
            fill(work.error, float("nan"), work.n)
            return
    tsit5.step(work, h)


@native
def fastest_rate(step: Step) -> float:
    """A bound of the fastest rate from the Jacobian, rows in units of the states' sizes."""
    model = step.model
    sums = step.point
    fill(sums, 0.0, step.n)
    for e in range(model.jacobian_count):
        row = model.jacobian_rows[e]
        sums[row] = sums[row] + abs(step.jacobian[e]) * step.scale[model.jacobian_columns[e]]
    worst = 0.0
    for k in range(step.n):
        worst = max(worst, sums[k] / (step.scale[k] + 1e-290))
    return worst


@native
def largest_eigenvalue(work: Work) -> float:
    """Largest eigenvalue of the Jacobian at the start of the step, by power iteration.

    What couples in one direction alone has no part in it, but would look like it: in a chain that fills from its start.
    """
    model = work.model
    n = work.n
    linearise_at(work, inside_step(work, work.t), work.y)
    vector = work.point
    product = work.kernel_out
    # in units of the states' sizes, so that no unit is preferred
    entries = work.buffer
    for e in range(model.jacobian_count):
        coupled = work.jacobian[e] if model.jacobian_cyclic[e] == 1 else 0.0
        entries[e] = coupled * weight(work, model.jacobian_columns[e])
    inverse = product
    for k in range(n):
        inverse[k] = 1.0 / weight(work, k)
    for e in range(model.jacobian_count):
        entries[e] = entries[e] * inverse[model.jacobian_rows[e]]
    size = 0.0
    for k in range(n):
        # every direction has a part in it, should the states be at rest to rounding
        sign = 1.0 if k % 2 == 0 else -1.0
        vector[k] = sign * (1.0 + 0.37 * float(k % 7))
        size = max(size, abs(vector[k]))
        product[k] = 0.0
    for _ in range(PRODUCTS):
        if not (size > 0.0 and isfinite(size)):
            return 0.0
        scaling = 1.0 / size
        size = 0.0
        for e in range(model.jacobian_count):
            row = model.jacobian_rows[e]
            product[row] = product[row] + entries[e] * vector[model.jacobian_columns[e]]
        for k in range(n):
            vector[k] = product[k] * scaling
            product[k] = 0.0
            size = max(size, abs(vector[k]))
    return size


@native(inline=True)
def weight(work: Work, k: int) -> float:
    """The size of a state, 1 where it has none yet."""
    size = work.scale[k]
    return size if size > TINY else 1.0


@native
def choose_method(work: Work, h: float) -> None:
    """After an accepted step: whether the next one is implicit."""
    if work.method != AUTO:
        return
    if work.step_implicit == 0:
        if work.stay_explicit > 0:
            work.stay_explicit = work.stay_explicit - 1
            return
        if work.explicit_steps % LOOK != LOOK - 1:
            estimate = work.fastest if work.measured == 1 else tsit5.stiffness(work)
            if estimate * h <= SUSPECT:
                return
        rate = largest_eigenvalue(work)
        if rate * h > STIFF:
            work.stiff_count = work.stiff_count + 1
            if work.stiff_count >= STIFF_STEPS:
                work.implicit = 1
                work.smooth_count = 0
                work.fresh = 0
        elif work.stiff_count > 0 and rate * h < EASY:
            work.stiff_count = work.stiff_count - 1
        return
    # the Jacobian at the start of the step is still there
    bound = work.fastest if work.measured == 1 else fastest_rate(work)
    if bound * h < SMOOTH:
        work.smooth_count = work.smooth_count + 1
        if work.smooth_count >= SMOOTH_STEPS:
            work.implicit = 0
            work.stiff_count = 0
    else:
        work.smooth_count = 0


@native
def bring_stages(work: Work) -> None:
    """Stages of a step that was taken in a group, from the arrays of the group; only a few steps need them."""
    if work.stages_place >= 0:
        size = work.n * (rodas5p.STAGES if work.step_implicit == 1 else tsit5.STAGES)
        gather(work.stages, work.group.stages[work.stages_place :], size)
        if work.keeps_arguments == 1:
            gather(work.arguments, work.group.arguments[work.stages_place :], size)
        work.stages_place = -1


@native
def bring_factors(work: Work) -> None:
    """The same of the factors."""
    if work.factors_place >= 0:
        gather(work.factors, work.group.factors[work.factors_place :], work.model.factor_size)
        work.factors_place = -1


@native(inline=True, noalias=True)
def gather(target: Vector, source: Vector, count: int) -> None:
    """The numbers of one problem out of those of a group."""
    for k in range(count):
        target[k] = source[k * WIDTH]


@native(inline=True, noalias=True)
def scatter(target: Vector, source: Vector, count: int) -> None:
    """The numbers of one problem to those of a group."""
    for k in range(count):
        target[k * WIDTH] = source[k]


@native
def state_inside(work: Work, theta: float, out: Vector) -> None:
    """The state `(n,)` at the fraction `theta` of the step that was just taken."""
    if theta >= 1.0:
        copy(out, work.new, work.n)
        return
    bring_stages(work)
    if work.step_implicit == 1:
        rodas5p.inside(theta, work.y, work.new, work.stages, work.n, out)
    else:
        tsit5.inside(theta, work.h, work.y, work.stages, work.n, out)


@native
def sensitivities_inside(work: Work, theta: float, out: Vector) -> None:
    """The sensitivities `(n, p)` at the fraction `theta` of the step."""
    size = work.n * work.p
    if theta >= 1.0:
        copy(out, work.s_new, size)
    elif work.step_implicit == 1:
        rodas5p.inside(theta, work.s, work.s_new, work.s_stages, size, out)
    else:
        tsit5.inside(theta, work.h, work.s, work.s_stages, size, out)


@native
def step_sensitivities(work: Work, h: float) -> None:
    """The derivative of the step that was just taken."""
    bring_stages(work)
    bring_factors(work)
    if work.step_implicit == 1:
        rodas5p.step_sensitivities(work, h)
    else:
        tsit5.step_sensitivities(work, h)


@native
def rests_at_ends(work: Work, k: int, h: float) -> bool:
    """Whether the rate of state `k` is zero at both ends of the step, where the right-hand side uses the time."""
    if work.model.uses_time == 0 or work.live == 1:
        return False
    rate_at(work, inside_step(work, work.t), work.y, work.change)
    before = work.change[k]
    rate_at(work, inside_step(work, work.t + h), work.new, work.change)
    return before == 0.0 and work.change[k] == 0.0


@native
def count_probes(work: Work) -> int:
    """At how many points a step is compared with its interpolant."""
    if work.model.uses_time == 1:
        return min(MOST_PROBES, 2 + int(PROBES_OF_SPAN * work.h / (work.end - work.start)))
    return 2


@native
def place_of_probe(probe: int, probes: int) -> float:
    """The fraction of the step at which such a point lies."""
    if probes > 2:
        return (float(probe) + 0.21 + 0.58 * float(probe % 2)) / float(probes)
    return 0.21 if probe == 0 else 0.79


@native
def residual_inside(
    step: Step, implicit: int, theta: float, t: float, h: float, first: float, last: float, residual: Vector
) -> None:
    """How far the interpolant is from solving the equation at the fraction `theta` of the step, `(n,)`.

    For an implicit step the residual is divided by I - gamma h J: fast directions magnify it without meaning anything
    by it.
    """
    n = step.n
    slope = step.buffer
    if implicit == 1:
        rodas5p.inside(theta, step.y, step.new, step.stages, n, step.x[1:])
        rate_at_argument(step, between(t + theta * h, first, last), residual)
        rodas5p.slope_inside(theta, step.y, step.new, step.stages, n, slope)
        for k in range(n):
            residual[k] = (residual[k] - slope[k] / h) / rodas5p.GAMMA
        # the factors are those of I / (gamma h) - J
        substitute(step.model, step.factors, residual)
    else:
        tsit5.inside(theta, h, step.y, step.stages, n, step.x[1:])
        rate_at_argument(step, between(t + theta * h, first, last), residual)
        tsit5.slope_inside(theta, h, step.stages, n, slope)
        for k in range(n):
            residual[k] = h * residual[k] - slope[k]


@native
def size_of_residual(work: Work, residual: Vector, h: float) -> float:
    """The largest residual in units of the tolerance; NaN where something is no number."""
    worst = 0.0
    if finite(residual, work.n) == 0:
        return float("nan")
    for k in range(work.n):
        if work.y[k] == 0.0 and work.new[k] == 0.0 and residual[k] != 0.0 and rests_at_ends(work, k, h):
            # nothing at both ends and something between: a pulse
            return float("nan")
        allowed = tolerance(work, k, work.y[k], work.new[k], work.t + h, h)
        # as everywhere between steps: relative to the largest value so far
        allowed = max(allowed, work.rtol * work.scale[k])
        worst = max(worst, abs(residual[k]) / allowed)
    return worst


@native
def interpolation_error(work: Work, h: float) -> float:
    """How far the interpolant is from solving the equation, in units of the tolerance.

    A pulse that all stages have missed shows here.
    """
    bring_stages(work)
    bring_factors(work)
    worst = 0.0
    probes = count_probes(work)
    for probe in range(probes):
        theta = place_of_probe(probe, probes)
        implicit = work.step_implicit
        residual_inside(work, implicit, theta, work.t, h, work.least_time, work.cap, work.kernel_out)
        size = size_of_residual(work, work.kernel_out, h)
        if not isfinite(size):
            return float("nan")
        worst = max(worst, size)
    return worst
