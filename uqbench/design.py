"""What the experimenter chooses: when to look, and which known inputs to give."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .annotations import Numbers, ValuesOrLists
from .errors import InputError


class Design(eqx.Module):
    """Times of observation and known inputs of one experiment.

    Shapes are static, values are not: two designs with equally many times share one compiled solve.

    Args:
        times: `(times,)`, in the model's time unit, not decreasing, none before `start`; `inf` is the steady state
            that the system reaches. May be left out in a study with data, whose times are then taken from the data.
        inputs: name -> array, what the experimenter sets (dose, concentration, temperature).
        start: the time at which `initial` holds.

    Example:
        >>> Design.linspace(0.0, 24.0, 5, inputs={"dose": 4.0}).times.tolist()
        [0.0, 6.0, 12.0, 18.0, 24.0]
    """

    times: Float[Array, " times"]
    inputs: dict[str, Array]
    start: Float[Array, ""]
    settles: bool = eqx.field(static=True)

    def __init__(self, times=(), inputs: ValuesOrLists | None = None, start: Numbers = 0.0):
        findings: list[str] = []
        times = _array("times", times, findings, infinite=True)
        inputs = {name: _array(f"input {name!r}", value, findings) for name, value in (inputs or {}).items()}
        start = _array("start", start, findings)
        findings += _check_times(times, float(start) if start.ndim == 0 else np.nan)
        if findings:
            raise InputError("design", findings)
        # numbers also where a design is made inside a trace
        with jax.ensure_compile_time_eval():
            self.times, self.start = jnp.asarray(times), jnp.asarray(start)
            self.inputs = {name: jnp.asarray(value) for name, value in inputs.items()}
        self.settles = bool(np.any(np.isposinf(times)))

    @classmethod
    def linspace(cls, t0: float, t1: float, n: int, inputs: ValuesOrLists | None = None) -> "Design":
        """`n` equally spaced times from `t0` to `t1`; the dynamics start at 0, or at `t0` where that is earlier."""
        return cls(np.linspace(t0, t1, n), inputs, start=min(0.0, t0))

    def at(self, times) -> "Design":
        """The same experiment observed at other times."""
        return type(self)(times, self.inputs, start=float(self.start))


def _array(name: str, value, findings: list[str], infinite: bool = False) -> np.ndarray:
    # checked in numpy: a device operation for each number of each design would be compiled one by one
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        findings.append(f"{name} is {value!r}, not numbers.")
        return np.zeros(0)
    if not np.all(np.isfinite(array) | (infinite & np.isposinf(array))):
        findings.append(f"{name} has values that are not finite.")
    return array


def _check_times(times: np.ndarray, start: float) -> list[str]:
    if times.ndim != 1:
        return [f"times have shape {times.shape}; they must be one row of numbers."]
    times, findings = times[~np.isnan(times)], []
    if np.any(times[1:] < times[:-1]):
        findings.append("times are not sorted; give them in increasing order.")
    if times.size and times.min() < start:
        findings.append(f"the time {times.min():g} lies before the start {start:g}; move `start` or drop that time.")
    return findings
