"""What all tests share: a matplotlib without a screen, and models small enough to compile in a moment."""

import gc
import os
import signal
import sys
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")
# Two workers on two cores: threads of the linear algebra would only wait for each other, up to tens of times longer.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import jax
import jax.numpy as jnp
import pytest
from jaxtyping import install_import_hook

# Annotations of these modules are checked at every call of the session, shapes included; an int is a float, as in PEP
# 484. Left out are `native`, whose functions are read as text by a compiler of their own and not by Python, and the
# modules that take anything from a user and refuse it in a sentence (`distributions`, `space`, `study`,
# `system`, `model.description`, `interop`, `dynamics.continuation`, `dynamics.limit_cycle`, `initial_value.given`):
# their tests pass what the annotations exclude. The others are not covered yet; those of `systems.protocol` do not hold
# for the tangents of a `Run`, whose codes are of the type float0.
CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
CHECKED = [
    *("annotations", "design", "interpolation", "model.running", "solvers"),
    *("dynamics.conservation", "dynamics.equilibrium", "dynamics.first_return"),
    *("dynamics.steady_state", "systems.initial_value", "systems.initial_value_findings"),
    *("initial_value.at_points", "initial_value.compiled", "initial_value.machine_code", "initial_value.odes"),
    *("initial_value.schedule", "initial_value.task"),
]
install_import_hook([f"uqbench.{module}" for module in CHECKED], CHECKER)

import uqbench as uq  # noqa: E402

# Files of a third of a minute and more, by default or of slow tests, which begin first: a worker takes whole files, and
# the other one waits for the last.
LONGEST = [
    *("test_random_networks", "test_simulation_based", "test_notebooks", "test_theophylline", "test_tissue_signalling"),
    *("test_table_forms", "test_sampling", "test_models", "test_cli", "test_examples", "test_distributions"),
    *("test_systems", "test_published_problems", "test_tails", "test_table_posteriors", "test_store", "test_counted"),
    *("test_study_balance", "test_slow_fast", "test_noise_domains", "test_checks", "test_profiles", "test_wheel"),
]


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


# The first example compiles, and a shared machine has no deadlines.
hypothesis.settings.register_profile("uqbench", deadline=None, max_examples=50, derandomize=True)
hypothesis.settings.load_profile("uqbench")


# Each compiled function takes a few mappings of memory, of which Linux allows a process some 65 000; one more and JAX
# crashes. From here on those of the files before are let go.
MAPPINGS = Path("/proc/self/maps")
MOST_MAPPINGS = 20_000


@pytest.fixture(autouse=True, scope="module")
def _few_compiled_functions():
    yield
    if MAPPINGS.exists() and MAPPINGS.read_bytes().count(b"\n") > MOST_MAPPINGS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture
def stopped(monkeypatch, capsys):
    """`uqbench` in this process: its exit status and what it says, where nothing of the process itself is asked."""

    from uqbench.cli import main

    def status_and_text(*arguments):
        monkeypatch.setattr(sys, "argv", ["uqbench", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        said = capsys.readouterr()
        return caught.value.code, said.out + said.err

    monkeypatch.chdir(Path(__file__).parents[1])
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    terminated = signal.getsignal(signal.SIGTERM)
    yield status_and_text
    signal.signal(signal.SIGTERM, terminated)


def decay_initial(p, inputs):
    return {"C": inputs["dose"]}


def decay_rhs(t, y, p, inputs):
    return {"C": -p["k"] * y["C"]}


def decay_observe(y, p):
    return {"C": y["C"]}


def decay_space():
    return uq.Space(
        k=uq.epistemic(uq.LogNormal(median=0.5, sigma=0.5), "1/h"), sigma=uq.epistemic(uq.HalfNormal(1.0), "mg/L")
    )


@pytest.fixture(scope="session")
def decay():
    """C' = -k C, C(0) = dose, measured with normal noise: everything about it is known in closed form."""
    return uq.Model(
        decay_space(),
        uq.Ode(decay_initial, decay_rhs),
        decay_observe,
        units={"C": "mg/L"},
        noise={"C": uq.Normal("C", "sigma")},
        name="decay",
    )


@pytest.fixture(scope="session")
def decay_table():
    """Two experiments with different doses and times, and a replicate."""
    import pandas as pd

    rows = [("low", "C", t, 2.0 * float(jnp.exp(-0.5 * t)) + 0.05) for t in (0.5, 1.0, 2.0)]
    rows += [("high", "C", t, 4.0 * float(jnp.exp(-0.5 * t)) - 0.05) for t in (1.0, 3.0, 3.0, 5.0)]
    return pd.DataFrame(rows, columns=["experiment", "output", "time", "value"])


@pytest.fixture(scope="session")
def decay_study(decay, decay_table):
    experiments = {"low": uq.Design(inputs={"dose": 2.0}), "high": uq.Design(inputs={"dose": 4.0})}
    return uq.Study("decay", decay, experiments, decay_table)
