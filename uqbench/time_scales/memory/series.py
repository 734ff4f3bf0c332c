"""Prony series: a function of the lag as a sum of exponentials, K(s) = sum_k residues_k e^(rates_k s).

What is known of a memory kernel is often only its values at equally spaced lags. If these are a sum of m exponentials,
every window of them is, and all windows lie in a space of m dimensions which one step of the lag maps to itself: the
eigenvalues of that map are e^(rate step). This is the matrix pencil, where Prony (1795) took the roots of a polynomial,
which noise moves much farther. With the rates known, the residues are a linear least-squares problem.
"""

from dataclasses import dataclass
from numbers import Integral

import numpy as np

from ...errors import InputError


@dataclass(frozen=True)
class Prony:
    """A kernel as a sum of exponentials, K(s) = sum_k residues_k e^(rates_k s).

    Args:
        rates: `(modes,)`, complex, per time. residues: `(modes, ...)`, complex, the shape of the kernel's values.
        residual: largest difference to the values that it stands for, relative to the largest of these.
    """

    rates: np.ndarray
    residues: np.ndarray
    residual: float

    def __call__(self, lags) -> np.ndarray:
        """Values of the kernel `(lags, ...)`."""
        return _sum_of_exponentials(self.rates, self.residues, lags)


def _sum_of_exponentials(rates, residues, lags) -> np.ndarray:
    return np.tensordot(np.exp(np.multiply.outer(np.asarray(lags), rates)), residues, axes=1).real


def series_of(rates, residues, lags, values) -> Prony:
    """The series with its residual against the values `(lags, ...)` at the lags."""
    rates, residues = np.array(rates, complex), np.array(residues, complex)
    misfit = np.abs(_sum_of_exponentials(rates, residues, lags) - values).max()
    return Prony(rates, residues, float(misfit / max(np.abs(values).max(), 1e-300)))


def prony(samples, step: float, modes: int) -> Prony:
    """Exponentials fitted to a kernel that is known at equally spaced lags only.

    By the matrix pencil (Hua & Sarkar 1990, doi:10.1109/29.56027): the rates are those by which the span of the shifted
    samples moves, shared by all entries of the kernel; the residues follow by least squares. Noise biases rates that
    decay within a few steps; whether more modes are needed is shown by the residual.

    Args:
        samples: `(lags, ...)` from lag 0 on. step: between lags, in the time unit. modes: exponentials, complex ones
            counted singly.

    Raises:
        InputError: too few lags, a step that is not positive, samples that are no numbers, modes that are no whole
            number, fewer of them than asked for.

    Example:
        >>> lags = np.arange(20) * 0.1
        >>> fit = prony(3 * np.exp(-2 * lags), 0.1, 1)
        >>> round(float(fit.rates[0].real), 6), round(float(fit.residues[0].real), 6)
        (-2.0, 3.0)
    """
    samples = np.asarray(samples, float)
    count = samples.shape[0] if samples.ndim else 0
    findings = [] if np.all(np.isfinite(samples)) else ["samples have values that are not finite."]
    if np.shape(step) or not 0 < step < np.inf:
        findings.append(f"the step is {step}; it must be one positive, finite time.")
    if not isinstance(modes, Integral):
        findings.append(f"modes is {modes!r}; it must be a whole number.")
    elif not 1 <= modes <= count // 2:
        findings.append(f"{modes} modes from {count} lags; give between 1 and {count // 2}, two lags for each.")
    if findings:
        raise InputError("prony", findings)
    width = min(count - modes, max(count // 2, modes))
    flat = samples.reshape(count, -1)
    hankel = np.concatenate([np.lib.stride_tricks.sliding_window_view(column, width + 1) for column in flat.T], axis=0)
    _, singular, directions = np.linalg.svd(hankel, full_matrices=False)
    if singular[min(modes, len(singular)) - 1] <= 1e-14 * max(singular[0], 1e-300) or len(singular) < modes:
        raise InputError("prony", [f"the samples are a sum of fewer than {modes} exponentials; ask for fewer modes."])
    span = directions[:modes].T
    factors = np.linalg.eigvals(np.linalg.lstsq(span[:-1], span[1:], rcond=None)[0]).astype(complex)
    rates = np.log(factors) / step
    lags = step * np.arange(count)
    residues = np.linalg.lstsq(np.exp(np.multiply.outer(lags, rates)), flat.astype(complex), rcond=None)[0]
    return series_of(rates, residues.reshape(modes, *samples.shape[1:]), lags, samples)
