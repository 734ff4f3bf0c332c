"""The 35 published systems: verdicts, time and what stays open, over several seeds.

Printed for each: the number of unknowns (parameters and initial states) that are global, local, none and undecided, the
median time in seconds of the local and of the whole answer (combinations included), and how many functions generate the
identifiable ones. For 20 of the systems the generators are published; there no verdict may be wrong.
"""

import statistics
import time
from collections import Counter

import pytest

from uqbench.identifiability import structural_identifiability
from uqbench.identifiability.fibres.groebner import find_msolve

from ..identifiability.test_structural import PUBLISHED, from_strings

pytestmark = [
    pytest.mark.bench,
    pytest.mark.skipif(find_msolve() is None, reason="msolve is not installed: no global verdicts"),
]

SEEDS = range(5)
BUDGET = 60.0
GENERIC = {"initial": "unknown", "inputs": "functions"}
# a Groebner basis that is under way is stopped at the limit, an operation on large polynomials is not
OVERRUN = 1.25


def verdicts(result):
    both = (("parameter", "verdict"), ("state", "state_verdict"))
    return {str(name): str(verdict) for axis, field in both
            for name, verdict in zip(result[axis].values, result[field].values, strict=True)}  # fmt: skip


def test_published_systems(capsys):
    wrong, medians, open_ = [], [], {}
    for name, system in PUBLISHED.items():
        model, published = from_strings(system), system.get("identifiable_functions")
        began = time.monotonic()
        structural_identifiability(model, **GENERIC, level="local")
        local, seconds, answers = time.monotonic() - began, [], []
        for seed in SEEDS:
            began = time.monotonic()
            result = structural_identifiability(model, **GENERIC, budget=BUDGET, seed=seed)
            seconds.append(time.monotonic() - began)
            answers.append(verdicts(result))
        decided = [{key: v for key, v in answer.items() if v != "undecided"} for answer in answers]
        if published is not None:
            wrong += [(name, seed, key) for seed, answer in enumerate(decided) for key, v in answer.items()
                      if (v == "global") != (key in published)]  # fmt: skip
        merged = {key: v for answer in decided for key, v in answer.items()}
        wrong += [(name, "seeds disagree", key) for answer in decided for key, v in answer.items() if merged[key] != v]
        medians.append(statistics.median(seconds))
        counts = Counter(v for answer in answers for v in answer.values())
        if counts["undecided"]:
            open_[name] = counts["undecided"] / len(answers)
        row = " ".join(f"{counts[kind] / len(answers):5.1f}" for kind in ("global", "local", "none", "undecided"))
        complete = "" if result.attrs["generators_complete"] else f"incomplete: {result.attrs['generators_reason']}"
        with capsys.disabled():
            print(
                f"{name[:36]:36s} {row}  {local:5.2f} s {medians[-1]:6.2f} s  {result.sizes['generator']:2d} {complete}"
            )
        assert max(seconds) < OVERRUN * BUDGET, name
    with capsys.disabled():
        print(f"median {statistics.median(medians):.2f} s; undecided unknowns {open_}")
    assert wrong == []
    assert statistics.median(medians) < 1.0
