"""A small tree with every group that the verbs make, invented so that each sentence has something to say."""

import json

import numpy as np
import pytest
import xarray as xr

EPISTEMIC = {"ka_median": "1/h", "CL_median": "L/h/kg", "sigma": "mg/L"}
ALEATORY = {"ka": "1/h", "CL": "L/h/kg"}
RUNS = (("low", "a"), ("low", "b"), ("high", "a"))
TIMES = np.array([0.5, 1.0, 4.0])
PARTS = ("epistemic", "aleatory", "measurement")


def origin(verb, **settings):
    return {"verb": verb, "settings": json.dumps(settings), "seed": 0, "seconds": 1.5}


def structure():
    free = [*EPISTEMIC, *ALEATORY]
    entry = {"latex": "x", "distribution": "HalfNormal(sigma=2)", "doc": "what it is"}
    parameters = [{"name": n, "unit": u, "role": "epistemic", **entry} for n, u in EPISTEMIC.items()]
    parameters += [{"name": n, "unit": u, "role": "aleatory", **entry} for n, u in ALEATORY.items()]
    parameters += [{"name": "dose_factor", "unit": "mg", "role": "fixed", **entry, "distribution": "320.0"}]
    attributes = {
        "rank": 2,
        "unknowns": 2,
        "order": 3,
        "failure_probability": 1e-30,
        "method": "rank of Taylor coefficients",
        "global_failure_probability": 1e-15,
        "repeats": 2,
        "experiments": "several",
        "generators_complete": True,
        "structural_seconds": 0.42,
        "budget": 60.0,
        "equations": json.dumps([r"\frac{d}{d t} C = - CL C", r"\begin{cases} a \end{cases}"]),
        "outputs": json.dumps([r"\mathrm{concentration} = C"]),
        "parameters": json.dumps(parameters),
        "units": json.dumps({"concentration": "mg/L", "time": "h"}),
        "suggestion": json.dumps({"CL_ka": "CL*ka"}),
        "transfer": json.dumps(
            {
                "functions": [r"H_{\mathrm{concentration \leftarrow dose}} = \frac{ka}{s + CL}"],
                "poles": ["- CL"],
                "coefficients": {"denominator s^0": "CL"},
                "fixed_by": {"CL": ["denominator s^0"]},
            }
        ),
    }
    verdict = ["local", "none", "local", "local", "none"]
    combination = ["", "CL_median*ka", "", "", "CL*ka"]
    columns = {"verdict": verdict, "reason": ["a reason"] * 5, "combination": combination}
    columns |= {"locally": [word == "local" for word in verdict], "method": ["input-output equations"] * 5}
    return xr.Dataset(
        {name: ("parameter", values) for name, values in columns.items()}
        | {"expression": ("generator", ["ka_median", "CL_median*ka"])},
        {"parameter": free},
        attributes | origin("identify", scale="log"),
    )


def fisher():
    names, eigenvalue = [*EPISTEMIC], np.array([100.0, 25.0, 4.0])
    return xr.Dataset(
        {
            "matrix": (("parameter", "parameter_"), np.diag(eigenvalue)),
            "eigenvalue": ("mode", eigenvalue),
            "direction": (("mode", "parameter"), np.eye(3)),
            "cramer_rao": ("parameter", eigenvalue**-0.5),
            "standard_error": ("parameter", [0.16, 0.008, 0.35]),
            "value": ("parameter", [1.6, 0.04, 0.7]),
            "logarithmic": ("parameter", [True, True, True]),
            "combination": ("mode", names),
            "exact": ("mode", [False, False, False]),
            "kind": ("mode", ["determined"] * 3),
            "meaning": ("mode", [f"{name} is known" for name in names]),
            "prior_sd": ("parameter", [0.5, 0.5, 1.1]),
            "shrinkage": ("parameter", [0.9, 0.8, 0.7]),
        },
        {"parameter": names, "parameter_": names, "mode": np.arange(3)},
        {"rank": 3, "condition": 25.0, "scale": "log", "at": "posterior medians"} | origin("identify", scale="log"),
    )


def rows():
    """Coordinates of the observations: every run at every time."""
    labels = {
        "experiment": [e for e, _ in RUNS for _ in TIMES],
        "subject": [u for _, u in RUNS for _ in TIMES],
        "time": np.tile(TIMES, len(RUNS)),
    }
    return {f"concentration_{name}": ("concentration_row", values) for name, values in labels.items()}


def chains(chain, draw):
    return {"chain": np.arange(chain), "draw": np.arange(draw)}


def calibrated(rng):
    draws = {name: (("chain", "draw"), np.exp(rng.normal(0, 0.1, (2, 200)))) for name in EPISTEMIC}
    draws |= {name: (("chain", "draw", "subject"), np.exp(rng.normal(0, 0.1, (2, 200, 2)))) for name in ALEATORY}
    counts = {
        "divergences_warmup": 17,
        "failed_solves_warmup": 5,
        "divergences_sampling": 3,
        "failed_solves_sampling": 1,
    }
    jumps = {"energy_errors_warmup": [1002.4, 6e8], "energy_errors_sampling": [1500.0, 1500.0]}
    mine = origin("calibrate", draws=200, tune=100, chains=2)
    observed = rng.normal(5, 1, len(RUNS) * len(TIMES))
    predicted = rng.normal(5, 1, (2, 200, observed.size))
    # the first lies far outside every predictive interval, the others inside
    observed = np.append(50.0, np.clip(observed[1:], 4, 6))
    prior = {name: (("chain", "draw"), np.exp(rng.normal(0, 1, (1, 400)))) for name in EPISTEMIC}
    level = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    band = np.broadcast_to(np.linspace(3, 7, 5)[:, None], (len(RUNS), 5, 11))
    return {
        "prior": xr.Dataset(prior, chains(1, 400), mine),
        "posterior": xr.Dataset(
            draws,
            {"subject": ["a", "b"]} | chains(2, 200),
            counts | jumps | mine | {"created_at": "2026-11-22T16:17:24"},
        ),
        "convergence": xr.Dataset(
            {
                "rhat": ("parameter", [1.001, 1.002, 1.001]),
                "ess_bulk": ("parameter", [2316.0, 900.0, 800.0]),
                "ess_tail": ("parameter", [1200.0, 900.0, 800.0]),
                "resolved": ("parameter", [True, True, True]),
            },
            {"parameter": [*EPISTEMIC]},
            {"largest_rhat": 1.01, "least_ess": 400} | mine,
        ),
        "sample_stats": xr.Dataset(
            {
                "diverging": (("chain", "draw"), np.zeros((2, 200), bool)),
                "maxdepth_reached": (("chain", "draw"), np.zeros((2, 200), bool)),
            },
            chains(2, 200),
            mine,
        ),
        "observed_data": xr.Dataset({"concentration": ("concentration_row", observed)}, rows(), mine),
        "posterior_predictive": xr.Dataset(
            {"concentration": (("chain", "draw", "concentration_row"), predicted)}, rows() | chains(2, 200), mine
        ),
        "posterior_band": xr.Dataset(
            {"concentration": (("run", "quantile", "grid"), band)},
            {
                "time": (("run", "grid"), np.tile(np.linspace(0, 4, 11), (len(RUNS), 1))),
                "quantile": level,
                "experiment": ("run", [e for e, _ in RUNS]),
                "unit": ("run", [u for _, u in RUNS]),
            },
            {"draws": 400, "meaning": "quantiles of a new measurement"} | mine,
        ),
    }


def split(shares, dims, total):
    """The variables of the law of total variance for given shares of `total`, each known to 10 % of it."""
    columns = {}
    for part, share in shares.items():
        for suffix, move in (("", 0.0), ("_lower", -0.1), ("_upper", 0.1)):
            columns[f"{part}_share{suffix}"] = (dims, share + move)
            columns[f"{part}{suffix}"] = (dims, (share + move) * total)
        columns[f"{part}_standard_error"] = (dims, 0.05 * total)
        columns[f"{part}_share_standard_error"] = (dims, np.full(share.shape, 0.05))
    for suffix, factor in (("", 1.0), ("_lower", 0.9), ("_upper", 1.1), ("_standard_error", 0.05)):
        columns[f"total{suffix}"] = (dims, factor * total)
    return columns


def decomposed():
    mine = origin("decompose", n=512, runs=4096)
    estimate = {"estimator": "means", "interval": "normal", "confidence": 0.95, "max_failed": 0.2, "resamples": 1000}
    estimate["quantities_digest"] = "89abfedc"
    part = estimate | {"coverage": "94 to 96 %", "replicates": 28, "epistemic_from": "posterior"} | mine
    indices = estimate | {
        **{"inputs": "the posterior as one input", "noise": "none", "of": "mean", "over": [], "influential": 0.05},
        **{"n": 512, "n_requested": 512, "replicates": 1, "evaluations": 2560, "plan_seed": 0, "failed_runs": "{}"},
        **mine,
    }
    share = np.array([0.08, 0.45])
    total = np.array([400.0, 2.5])
    quantities = split({"epistemic": share, "aleatory": 1 - share}, "quantity", total)
    more = {
        "mean": [96.0, 8.1],
        "n_valid": [146, 146],
        "n_runs": [4088, 4088],
        "reason": ["", ""],
        "event": [False, False],
        "unit": ["mg*h/L", "mg/L"],
        "doc": ["exposure", "peak"],
    }
    quantities |= {name: ("quantity", values) for name, values in more.items()}
    quantities["interval"] = (("bound", "quantity"), np.array([[63.0, 5.6], [95.0, 8.0], [134.0, 10.8]]))
    over = {
        name: np.array([[a, b, c]])
        for name, (a, b, c) in zip(PARTS, ((0.1, 0.2, 0.3), (0.8, 0.6, 0.4), (0.1, 0.2, 0.3)), strict=True)
    }
    total_effect = np.array([[0.15, 0.2], [0.01, 0.45], [0.85, 0.4]])
    index = ("parameter", "quantity")
    sobol = {
        "ST": (index, total_effect),
        "ST_lower": (index, total_effect - 0.1),
        "ST_upper": (index, total_effect + 0.1),
    }
    sobol |= {
        "S1": (index, total_effect * 0.9),
        "S1_lower": (index, total_effect * 0.8),
        "S1_upper": (index, total_effect),
        "resolved": (index, np.ones((3, 2), bool)),
        "n_needed": (index, np.full((3, 2), 512.0)),
        "n_valid": ("quantity", [512, 512]),
        "reason": ("quantity", ["", ""]),
    }
    return {
        "variance": xr.Dataset(
            quantities,
            {"quantity": ["AUC", "Cmax"], "bound": [0.05, 0.5, 0.95]},
            part | {"draws": 146, "shapley": "", "failed_runs": "{}", "not_over_time": "{}"},
        ),
        "variance_over_time": xr.Dataset(
            split(over, ("output", "time"), np.full((1, 3), 4.0))
            | {name: (("output", "time"), np.full((1, 3), 512)) for name in ("n_valid", "n_runs")}
            | {"reason": (("output", "time"), np.full((1, 3), ""))},
            {"output": ["concentration"], "time": TIMES},
            part,
        ),
        "sobol": xr.Dataset(
            sobol,
            {"parameter": ["epistemic", "ka", "CL"], "quantity": ["AUC", "Cmax"]},
            indices,
        ),
    }


def build(groups):
    root = {
        "study": "toy",
        "model": "decay",
        "model_digest": "0123abcd",
        "data_digest": "4567cdef",
        "gradient": "exact",
        "versions": json.dumps({"uqbench": "0.1.0"}),
    }
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=root), **groups})


def every_group():
    return {"structure": structure(), "fisher": fisher(), **calibrated(np.random.default_rng(0)), **decomposed()}


@pytest.fixture
def groups():
    """Every group by name; a test may take some away or change them before it builds its tree."""
    return every_group()


@pytest.fixture
def tree(groups):
    """The complete tree."""
    return build(groups)
