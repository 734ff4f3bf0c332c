"""Polynomial chaos: an expansion of the output in polynomials of the inputs, whose squares are its variance.

In polynomials that are orthonormal under the distribution of the inputs, y = sum_a c_a P_a(x), the mean is c_0, the
variance is the sum of the other c_a^2, and the share of it that an input takes part in is a partial sum: the Sobol
indices need no further runs (Sudret 2008, doi:10.1016/j.ress.2007.04.002). For smooth outputs this needs tens to
hundreds of runs, where pick-freeze estimates need thousands, and any sample from the prior will do. If the model has
derivatives, each run gives 1 + d equations rather than one (Peng, Hampton and Doostan 2016,
doi:10.1016/j.jcp.2015.12.049).

`bases` has the polynomials, `pursuit` the choice of terms, `expansion` that of candidates. Here they become indices,
and three errors are kept apart:

- *Noise.* E[c^2] exceeds the true square by the variance of c. That variance is estimated, from replicates or from
  residuals, and subtracted wherever a coefficient is squared.
- *Sampling.* How much each sample moves each coefficient is known from leaving it out; the bootstrap of these
  influences is one matrix product. Because other samples would choose other terms, and because a sample of a
  heavy-tailed input knows little of the tail, an interval is never narrower than that of a jackknife over folds.
- *Truncation.* What the expansion misses may belong to any input, and what it has too much to any other. With e of the
  variance unexplained an index V_i / V lies between (V_i - e) / (V + e) and (V_i + e) / (V + e); e is the error in runs
  that were held out of the fit *and of the choice of terms*, plus its standard error. An output is resolved if that is
  at most `max_error`.
"""

from collections.abc import Sequence
from itertools import count

import numpy as np
import xarray as xr
from scipy.stats import t as student_t

from ...errors import InputError
from ...space import Space
from ..runs import (
    bootstrap_counts,
    conditional_mean,
    in_place,
    sentences,
    setting_findings,
    usable_or_error,
)
from .expansion import ROUNDING, Choice, Table, bases_of, best_choices, joint_terms, univariate, weighted_rows
from .inputs import arranged_outputs, checked_germs, expansion_findings
from .pursuit import DENSE_SHARE, design_rows, held_out

FOLDS = 10
EXTRAPOLATION = 100  # times the samples given: further out nothing is said


def polynomial_chaos(
    space: Space,
    x: np.ndarray,
    y: np.ndarray | xr.DataArray,
    gradients: np.ndarray | xr.DataArray | None = None,
    *,
    replicate_axis: int | None = None,
    max_degree: int = 20,
    q_norms: Sequence[float] = (0.5, 0.75, 1.0),
    max_error: float = 0.01,
    confidence: float = 0.95,
    resamples: int = 500,
    max_failed: float = 0.2,
    seed: int = 0,
) -> xr.Dataset:
    """Sobol indices, mean and variance of every output from a sparse polynomial chaos expansion.

    Degree, candidates and number of terms are chosen for each output. A failed run (NaN) is left out for that output.
    With replicates the indices are those of the conditional mean E[y | x]; without, the noise of a stochastic model
    counts as an error that is not resolved, because it cannot be told from what the expansion misses.

    Args:
        space: its free parameters are the inputs; one that names others counts given those others (Rosenblatt).
        x: `(n, d)` natural values in the order of `space.free`, from the joint distribution: random, or Sobol points
            through `space.from_cube`.
        y: `(n[, replicates][, output...])`; dimensions and coordinates of a DataArray are kept.
        gradients: dy/dx in natural units, `(n, d[, output...])`, of E[y | x] if there are replicates.
        replicate_axis: the axis of `y` that holds runs of a stochastic model at the same inputs.
        max_degree: largest degree of a candidate.
        q_norms: families of candidates to try, each in (0, 1]; 1 has all interactions, less has fewer.
        max_error: largest share of the variance that the expansion may miss in an output that is called resolved. No
            index can be wrong by more through what is missed, so the default keeps two digits of each.
        confidence: level of the intervals.
        resamples: bootstrap resamples of samples.
        max_failed: fraction of samples that may be lost before it is an error.
        seed: of folds and bootstrap; 0 is a seed.

    Returns:
        `S1`, `ST` `(parameter, output...)` and `S2` `(parameter, other_parameter, output...)`, NaN on the diagonal,
        each with `_lower` and `_upper`; `mean`; `variance`; `error` (1 - Q^2, the missed share of the variance, from
        held-out folds) with `error_standard_error`; `leave_one_out` (the same for the chosen terms, too good because
        they were chosen by the same runs); `resolved`; `n_valid`, `n_terms`, `degree`, each `(output...)`;
        `left_out`, why an output that does not vary, with infinite values or too many failed runs is NaN;
        `coefficient` `(term, output...)` and `exponent` `(term, parameter)` for `chaos_predict`. Attribute `reason`
        says why something is not resolved and how many samples it would take, where that can be extrapolated.

    Raises:
        InputError: with every finding: shapes, values outside of the support, counts as inputs, too few samples, no
            output that varies, settings.

    Example:
        >>> from uqbench import Space, Uniform, epistemic
        >>> space = Space(a=epistemic(Uniform(-1.0, 1.0)), b=epistemic(Uniform(-1.0, 1.0)))
        >>> x = np.random.default_rng(0).uniform(-1, 1, (40, 2))
        >>> polynomial_chaos(space, x, x @ [2.0, 1.0]).S1.values.round(6)
        array([0.8, 0.2])
    """
    findings = setting_findings(confidence, resamples, max_failed) + expansion_findings(max_degree, q_norms, max_error)
    germs, jacobian = checked_germs(space, x, gradients is not None, findings)
    runs, slopes, labels = arranged_outputs(x, y, gradients, replicate_axis, findings)
    if findings:
        raise InputError("polynomial_chaos", findings)
    (mean,), (noise,), valid = conditional_mean(runs[None])
    lost, used = ~valid, np.where(valid[:, None], runs, np.nan)
    reasons, usable = usable_or_error("polynomial_chaos", used, lost, max_failed, *labels[:2], "samples")
    if slopes is not None:
        slopes = np.where(valid[:, None], slopes, 0.0)[..., usable]
        if not np.isfinite(slopes).all():
            finding = "gradients are not finite where y is; set those runs of y to NaN, or leave the gradients out."
            raise InputError("polynomial_chaos", [finding])
    table, centre, scale = _table(space, germs, jacobian, mean[:, usable], noise[:, usable], valid[:, usable], slopes)
    choices = best_choices(table, max_degree, q_norms)
    settings = {"max_error": max_error, "confidence": confidence, "resamples": resamples, "seed": seed}
    data, exponents = _of_all_outputs(table, choices, centre, scale, runs.shape[1] == 1, **settings)
    reason = _reason(data, len(germs), max_error, _least_for_all(len(space.free), table.target.shape[1]))
    data = {name: in_place(value, usable) for name, value in data.items()}
    data |= {"n_valid": valid.sum(axis=0), "left_out": sentences(reasons)}
    settings |= {"max_failed": max_failed, "max_degree": max_degree, "q_norms": tuple(map(float, q_norms))}
    attrs = _attributes(slopes is not None, runs.shape[1]) | settings | {"n": len(germs), "reason": reason}
    return _dataset(space, data, exponents, labels, attrs)


def chaos_predict(expansion: xr.Dataset, space: Space, x: np.ndarray) -> xr.DataArray:
    """The outputs that an expansion predicts at new inputs.

    Args:
        expansion: from `polynomial_chaos`.
        space: the one that it was made with.
        x: `(n, d)` natural values in the order of `space.free`.

    Returns:
        `(sample, output...)`, in the units of `y`.

    Raises:
        InputError: with every finding: another space, shapes, values outside of the support.

    Example:
        >>> from uqbench import Space, Uniform, epistemic
        >>> space = Space(a=epistemic(Uniform(-1.0, 1.0)))
        >>> x = np.linspace(-0.9, 0.9, 20)[:, None]
        >>> chaos_predict(polynomial_chaos(space, x, x[:, 0] ** 3), space, np.array([[0.5]])).values.round(6)
        array([0.125])
    """
    findings: list[str] = []
    if tuple(expansion.parameter.values) != space.free:
        findings.append(
            f"the expansion is in {', '.join(expansion.parameter.values)}, the space in {', '.join(space.free)}; "
            "give the space that it was made with."
        )
    germs, _ = checked_germs(space, x, False, findings)
    if findings:
        raise InputError("chaos_predict", findings)
    terms = expansion.exponent.values
    values, _ = univariate(bases_of(space), germs, int(terms.max()))
    coefficient = expansion.coefficient.transpose("term", ...)
    predicted = np.tensordot(design_rows(values, None, terms)[:, 0], coefficient.values, axes=1)
    coords = {name: c for name, c in coefficient.coords.items() if "term" not in c.dims}
    return xr.DataArray(predicted, dims=("sample", *coefficient.dims[1:]), coords=coords)


def _table(space: Space, germs, jacobian, mean, noise, valid, slopes) -> tuple[Table, np.ndarray, np.ndarray]:
    """What is fitted: values (n, output), and slopes (n, d, output) with respect to germs, in units of the spread of
    each output about its centre."""
    keep = np.where(valid, mean, np.nan)
    centre, scale = np.nanmean(keep, axis=0), np.nanstd(keep, axis=0)
    target = ((mean - centre) / scale)[:, None]
    if slopes is not None:
        # dy/dx = (dt/dx)' dy/dt
        inner = np.linalg.solve(np.swapaxes(jacobian, 1, 2), slopes / scale)
        target = np.concatenate([target, inner], axis=1)
    return Table(bases_of(space), germs, target, noise / scale**2, valid), centre, scale


def _of_all_outputs(
    table: Table, choices: Sequence[Choice], centre: np.ndarray, scale: np.ndarray, single: bool, **settings
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What is said of each output, in its units, and the exponents of the terms that they have in common."""
    parts = [_decomposed(table, k, choice, single, **settings) for k, choice in enumerate(choices)]
    data = {name: np.stack([part[name] for part in parts], axis=-1) for name in parts[0]}
    data["mean"], data["variance"] = centre + scale * data["mean"], scale**2 * data["variance"]
    exponents, coefficients = joint_terms(choices)
    data["coefficient"] = scale * coefficients
    data["coefficient"][0] += centre
    data["n_valid"] = table.valid.sum(axis=0)
    return data, exponents


def _least_for_all(inputs: int, rows: int) -> int:
    """Samples, of `rows` equations each, that hold a linear term of every input in every fold: the largest fold is left
    out of those that have to."""
    terms = 1 + inputs
    return next(n for n in count(terms) if terms <= DENSE_SHARE * rows * (n - np.ceil(n / FOLDS)))


def _decomposed(table: Table, k: int, choice: Choice, single: bool, *, max_error, confidence, resamples, seed) -> dict:
    """Everything that is said of output `k`, in units of its spread."""
    used, fit = table.valid[:, k], choice.fit
    n = int(used.sum())
    noise = table.noise[used, k]
    active = choice.terms[fit.chosen] > 0
    if single or table.target.shape[1] > 1:
        own = np.sum(fit.influence * fit.own_influence, axis=0)
    else:
        own = fit.operator[:, :, 0] ** 2 @ noise
    rows, weights = weighted_rows(table, used, choice.degree, choice.terms)
    target, spread = table.target[used][..., k] * weights, 1 - noise.mean()
    left_out, fits = held_out(rows, target, _folds(table, used, seed))
    squared = left_out**2
    missed = squared - noise
    error, deviation = np.inf, 0.0  # where the noise is as large as the spread
    if spread > 0:
        error, deviation = missed.mean() / spread, missed.std() / np.sqrt(n) / spread
    resolved, needed = error + deviation <= max_error, np.nan
    if not resolved and spread > 0:
        halves = np.random.default_rng(seed).permutation(n) % 2
        half = (held_out(rows, target, halves)[0] ** 2 - noise).mean() / spread
        needed = _needed(n, half, error, error + deviation, max_error)
    # residuals are too small where terms were chosen by the same samples; those of held-out samples are not
    inside = fit.loss[:, 0].mean()
    influence = fit.influence * np.sqrt(max(1.0, squared.mean() / inside) if inside > ROUNDING else 1.0)
    resampled = fit.coefficients + (bootstrap_counts(n, resamples, seed) - 1) @ influence
    # a square of a resampled coefficient is too large twice: by the variance of the estimate and by that of resampling
    squares = np.concatenate(
        [(fit.coefficients**2 - own)[None], resampled**2 - own - np.sum(influence**2, axis=0)], axis=0
    )
    found = {
        "mean": fit.coefficients[0],
        "variance": squares[0, 1:].sum(),
        "error": max(error, 0.0),
        "error_standard_error": deviation,
        "leave_one_out": max(inside - noise.mean(), 0.0) / spread if spread > 0 else np.inf,
        "resolved": bool(resolved),
        "needed": needed,
        "n_terms": len(fit.chosen),
        "degree": int(choice.terms[fit.chosen].sum(axis=1).max()),
    }
    widening = max((error + deviation) * spread, 0.0) if spread > 0 else 1.0  # as large as everything there is
    folds = np.stack([_parts(each.coefficients[None] ** 2, choice.terms[each.chosen] > 0)[0] for each in fits])
    return found | _indices(_parts(squares, active), folds, active.shape[1], widening, confidence)


def _folds(table: Table, used: np.ndarray, seed: int) -> np.ndarray:
    """The fold of every sample: random, but with unbounded inputs the outermost samples are one fold.

    The variance of a heavy-tailed output comes from where few samples are or none; only predicting samples that lie
    further out than all others shows whether an expansion holds there.
    """
    n = int(used.sum())
    folds = min(FOLDS, n)
    generator = np.random.default_rng(seed)
    unbounded = [i for i, basis in enumerate(table.bases) if basis.unbounded]
    if not unbounded:
        return generator.permutation(n) % folds
    outwards = np.argsort(np.linalg.norm(table.germs[used][:, unbounded], axis=1), kind="stable")
    fold, outermost = np.zeros(n, dtype=int), n // folds
    fold[outwards[: n - outermost]] = 1 + generator.permutation(n - outermost) % (folds - 1)
    return fold


def _parts(squares: np.ndarray, active: np.ndarray) -> np.ndarray:
    """Sums of squared coefficients (sets, terms): the variance, then of terms in one input alone, in it at all, and in
    a pair alone; `active` (terms, d) says which inputs a term is in."""
    order, d = active.sum(axis=1), active.shape[1]
    i, j = np.triu_indices(d, 1)
    pairs = active[:, i] & active[:, j] & (order == 2)[:, None]
    alone = active & (order == 1)[:, None]
    return squares @ np.concatenate([(order > 0)[:, None], alone, active, pairs], axis=1).astype(float)


def _indices(parts: np.ndarray, folds: np.ndarray, d: int, widening: float, confidence: float) -> dict[str, np.ndarray]:
    """S1, ST and S2 with intervals, from the sums of squares: (1 + resamples, sums) with the estimate in row 0, and
    (folds, sums) without each fold."""
    variance, parts = np.where(parts[:, :1] > 0, parts[:, :1], np.nan), parts[:, 1:]
    estimate = (parts / variance)[0]
    low, high = ((parts[1:] + sign * widening) / (variance[1:] + widening) for sign in (-1, 1))
    tail = (1 - confidence) / 2
    # a resample without a variance may lie anywhere, so it counts at both ends
    lower = np.quantile(np.where(np.isnan(low), 0.0, low), tail, axis=0, method="lower")
    upper = np.quantile(np.where(np.isnan(high), 1.0, high), 1 - tail, axis=0, method="higher")
    # jackknife over groups (Shao and Wu 1989, doi:10.1214/aos/1176347263): also knows that other samples choose others
    shares = folds[:, 1:] / np.where(folds[:, :1] > 0, folds[:, :1], np.nan)
    k = len(shares)
    reach = student_t.ppf(1 - tail, k - 1) * np.sqrt((k - 1) * np.var(shares, axis=0))
    reach = np.where(np.isnan(reach), 1.0, reach)
    # indices lie between 0 and 1; an estimate may leave that range, when more noise is subtracted than there was
    lower = np.fmax(np.fmin(lower, estimate - reach), np.fmin(estimate, 0.0))
    upper = np.fmin(np.fmax(upper, estimate + reach), np.fmax(estimate, 1.0))
    found, (i, j) = {}, np.triu_indices(d, 1)
    for suffix, value in {"": estimate, "_lower": lower, "_upper": upper}.items():
        table = np.full((d, d), np.nan)
        table[i, j] = table[j, i] = value[2 * d :]
        found |= {"S1" + suffix: value[:d], "ST" + suffix: value[d : 2 * d], "S2" + suffix: table}
    return found


def _needed(n: int, half: float, full: float, bound: float, max_error: float) -> float:
    """Samples at which the error is small enough if it goes on to fall as from n / 2 to n; NaN if nobody knows."""
    if not (0 < full < half):
        return np.nan
    rate = np.log(half / full) / np.log(2 * (1 - 1 / FOLDS))
    times = np.log(bound / max_error) / rate
    return n * np.exp(times) if times <= np.log(EXTRAPOLATION) else np.nan


def _reason(data: dict[str, np.ndarray], n: int, max_error: float, dense: int) -> str:
    """Why outputs are not resolved, in one sentence, of the worst of them.

    `dense` is the number of samples that a linear expansion in all inputs takes, in every fold.
    """
    open_ones = np.flatnonzero(~data["resolved"])
    if not len(open_ones):
        return f"resolved: the held-out error and its standard error are at most {max_error} of the variance"
    error = data["error"] + data["error_standard_error"]
    worst = open_ones[np.argmax(error[open_ones])]
    total = len(data["resolved"])
    which = "" if total == 1 else f" {len(open_ones)} of {total} outputs, the worst:"
    known, used = data["needed"][worst], int(data["n_valid"][worst])
    if used < dense:
        # no trend from n / 2 to n tells what the dense fit will do
        advice = (
            f"no few terms explain it, and {used} samples cannot hold a linear term of every input, which an output "
            f"needs that depends on many of them alike: give at least {dense}"
        )
    elif np.isfinite(known):
        advice = f"about n={int(float(f'{known:.2g}'))} needed if it goes on to fall as from n/2 to n"
    elif data["n_terms"][worst] == 1:
        advice = (
            "no polynomial that the samples can hold, linear ones of all inputs included, explains more than chance: "
            "noise, or interactions of many inputs"
        )
    else:
        advice = "its fall with n cannot be extrapolated: noise, heavy tails, or an output that is not smooth"
    return f"not resolved at this n:{which} n={n}; held-out error {error[worst]:.2g}, allowed {max_error}; {advice}"


def _attributes(gradients: bool, replicates: int) -> dict[str, str]:
    single = "one run per row: noise cannot be separated from truncation"
    many = f"{replicates} replicates per row: indices of the conditional mean, replicate variance subtracted"
    return {
        "estimator": "sparse polynomial chaos, orthogonal least squares" + ", with gradients" * gradients,
        "inputs": "independent germs; a parameter that names others counts given those others",
        "noise": single if replicates == 1 else many,
        "interval": "bootstrap of influences widened by the held-out error, and at least a jackknife over folds",
    }


def _dataset(space: Space, data: dict[str, np.ndarray], exponents: np.ndarray, labels, attrs: dict) -> xr.Dataset:
    shape, dims, coords = labels
    leading = {"S1": ("parameter",), "ST": ("parameter",), "S2": ("parameter", "other_parameter")}
    variables = {}
    for name, value in data.items():
        if name != "needed":
            first = ("term",) if name == "coefficient" else leading.get(name[:2], ())
            variables[name] = ((*first, *dims), value.reshape((*value.shape[:-1], *shape)))
    variables["exponent"] = (("term", "parameter"), exponents)
    names = list(space.free)
    return xr.Dataset(variables, {**coords, "parameter": names, "other_parameter": names}, attrs=attrs)
