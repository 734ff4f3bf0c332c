"""In words: strong, weak or absent, and why."""

import numpy as np
import xarray as xr

from ...errors import RESULTS
from .scales import SMALL

# Equilibria closer than this, relative to their size or to the largest on the way, are one.
SAME = 1e-6
MEANING = (
    "strong: one stable equilibrium of the fast states along the way, reached before the slow ones move; weak: several "
    "stable equilibria, or none; absent: the fast states are not fast, or move the slow ones before they rest."
)


def as_attributes(verdict: str, reason: str) -> dict[str, str]:
    """The attributes that say so; `warning` is empty where all is well."""
    advice = {"strong": "", "unknown": ""}.get(verdict, " Keep the fast states.")
    warning = f"{verdict} separation of time scales: {reason.rstrip('.')}.{advice}"
    return {"verdict": verdict, "reason": reason, "warning": "" if verdict == "strong" else warning, "meaning": MEANING}


def separation_verdict(dataset: xr.Dataset, code: int) -> dict:
    """Attributes of a diagnosis; `code` is the result of the reduced solve."""
    names = ", ".join(map(str, dataset.fast.values))
    lost = np.isnan(dataset.fast_rate.values)
    epsilon = float(np.max(dataset.epsilon.values[~lost])) if not lost.all() else np.nan
    layer, error = float(dataset.layer.max()), float(dataset.error.max())
    numbers = {"epsilon": epsilon, "layer": layer, "error": error}
    if weak := _weakness(dataset, lost, names):
        return numbers | weak
    if code:
        return numbers | as_attributes("weak", f"the reduced system cannot be solved: {RESULTS[code]}")
    for what in (
        f"what is slow moves at {epsilon:.2g} of the rate at which {names} relaxes" if epsilon > SMALL else "",
        f"while {names} relaxes, a slow state moves by {layer:.2g} of its size" if layer > SMALL else "",
        f"the reduced solution errs by {error:.2g} of the size of a slow state" if error > SMALL else "",
    ):
        if what:
            return numbers | as_attributes("absent", f"{what}; this must be small")
    faster = whole(1 / max(epsilon, 1e-300))
    reason = (
        f"{names} has one stable equilibrium along the way, as far as was found, and relaxes {faster} times as fast "
    )
    return numbers | as_attributes("strong", f"{reason}as what is slow moves")


def _weakness(dataset: xr.Dataset, lost: np.ndarray, names: str) -> dict:
    """What there is to say where the fast states have several places to be, none, or another than the reduced ones."""
    count, times = dataset.stable_equilibria.values, dataset.time.values
    other = np.any(~(np.abs(dataset.taken - dataset.equilibrium) <= 10 * dataset.apart).values, axis=1)
    kinds = (
        (f"has {int(count.max())} stable equilibria or more, so that the past decides where it is", count > 1),
        ("has no stable equilibrium", lost | (count == 0)),
        ("is put at another equilibrium than that where it is", other & ~lost),
    )
    weak = np.any([where for _, where in kinds], axis=0)
    if not weak.any():
        return {}
    reasons = []
    for what, where in kinds:
        if where.any():
            first, last = (float(times[where][k]) for k in (0, -1))
            state = dataset.isel(time=int(np.flatnonzero(where)[0])).slow_state
            at = ", ".join(f"{name} = {float(value):.3g}" for name, value in zip(state.slow.values, state, strict=True))
            reasons.append(f"{what}, from time {first:.3g} ({at}) to {last:.3g}")
    first, last = (float(times[weak][k]) for k in (0, -1))
    return as_attributes("weak", f"the fast part ({names}) {'; it '.join(reasons)}") | {
        "weak_from": first,
        "weak_to": last,
    }


def whole(number: float) -> str:
    """Two digits, without a power of ten where there is room for zeros."""
    return f"{float(f'{number:.2g}'):,.0f}" if 10 <= number < 1e7 else f"{number:.2g}"
