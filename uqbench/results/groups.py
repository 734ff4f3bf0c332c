"""The groups of the tree: who makes them, and what each variable and attribute means.

This is the one place where they are described. What a verb attaches is checked against it, the report reads by it, and
`describe` prints it. The groups from /prior to /log_likelihood follow the ArviZ schema, so that every ArviZ function
works on the tree. Numbers are in the units of the parameter, output or quantity that they belong to, time in the
model's unit of time; shares and indices are fractions of a variance.
"""

from types import EllipsisType

import pandas as pd

from .schema import ORIGIN, ROOT, Attribute, Group, Variable

Dims = tuple[str | EllipsisType, ...]

IDENTIFY, CALIBRATE, DECOMPOSE, PREDICT = ("identify",), ("calibrate",), ("decompose",), ("predict",)
# verb -> the verb whose groups it starts from, where they are there: what it made of earlier ones is not theirs.
BUILDS_ON = {"decompose": "calibrate", "predict": "calibrate"}
# Every verb looks at the time scales of a model made by `Model.reduced` first, and notes this as their origin.
REDUCED = ("reduced", "calibrate")
# So it does at the balance of a coupled model.
COUPLED = ("coupled",)


def _family(dims: Dims, names: dict[str, str], ends: dict[str, str], *, optional: bool = False) -> dict[str, Variable]:
    """Each of `names` (name -> meaning), and with it a variable for each of `ends` (suffix -> meaning)."""
    return {
        f"{name}{end}": Variable(dims, "number", f"{meaning}{of}", optional)
        for name, meaning in names.items()
        for end, of in {"": "", **ends}.items()
    }


INTERVAL = {"_lower": ", lower end of the interval", "_upper": ", upper end of the interval"}
WITH_ERROR = {"_standard_error": ", standard error", **INTERVAL}
PARTS = {"epistemic": "what is not known yet", "aleatory": "between units, or random in the model"}
CHAINS = {
    "chain": Variable(("chain",), "int", "number of the chain"),
    "draw": Variable(("draw",), "int", "number of the draw"),
}
PARAMETERS = {"parameter": Variable(("parameter",), "text", "name of the parameter")}
QUANTITIES = {"quantity": Variable(("quantity",), "text", "name of the quantity")}
ENTRIES = "; coordinates `<name>_experiment`, `<name>_time`, ... say of which measurement"
ARVIZ = "notes of ArviZ and the sampler: created_at, inference_library, ..."


def _parts(dims: Dims) -> dict[str, Variable]:
    """A variance split by the law of total variance, see `decomposition.total_variance`."""
    measurement = {"measurement": "measurement noise"}

    def variances(parts: dict[str, str], **options) -> dict[str, Variable]:
        squared = {name: f"variance: {what}, in squared units" for name, what in parts.items()}
        shares = {f"{name}_share": f"share of the variance: {what}" for name, what in parts.items()}
        return _family(dims, squared | shares, WITH_ERROR, **options)

    return {
        **variances(PARTS),
        **variances(measurement, optional=True),
        **_family(dims, {"total": "variance: sum of the parts, in squared units"}, WITH_ERROR),
        "n_valid": Variable(dims, "number", "draws of the epistemic parameters that were used"),
        "n_runs": Variable(dims, "number", "runs that were used"),
        "reason": Variable(dims, "text", "why there is no variance to split, its numbers being NaN; empty otherwise"),
    }


ESTIMATE = {
    "estimator": Attribute("text", "how it is estimated"),
    "interval": Attribute("text", "what the intervals are"),
    "confidence": Attribute("number", "level of the intervals"),
    "max_failed": Attribute("number", "share of failed runs that would have been an error"),
}
SPLIT = {
    **ESTIMATE,
    "coverage": Attribute("text", "measured coverage of the intervals"),
    "resamples": Attribute("int", "resamples of the bootstrap"),
    "replicates": Attribute("int", "new units for each draw of the epistemic parameters"),
    "epistemic_from": Attribute("text", "posterior, or prior where no data were used"),
}
OF_QUANTITIES = {"quantities_digest": Attribute("text", "changes with the quantities of the study")}
FAILED = {"failed_runs": Attribute("json", "why runs failed -> how many, counted over all designs")}


def _phases(name: str, kind: str, meaning: str) -> dict[str, Attribute]:
    return {
        f"{name}_{phase}": Attribute(kind, f"{meaning}, {when}", True)
        for phase, when in (("warmup", "during warm-up"), ("sampling", "among the kept draws"))
    }


ALONG_PROFILES = {
    "side": Variable(("side",), "text", "lower or upper"),
    "point": Variable(("point",), "int", "number of the point, from the best fit outwards"),
    "other": Variable(("other",), "text", "name of a parameter"),
}
OF_PROFILES = {
    "log_density": Attribute("number", "the largest log likelihood"),
    "level": Attribute("number", "confidence of the intervals"),
    "threshold": Attribute("number", "fall of the log likelihood at their ends"),
    "better": Attribute("number", "by how much it is above that of the best fit where the profiles began"),
    "prior": Attribute("bool", "whether the prior counts"),
    "scores": Attribute("int", "evaluations"),
    "stopped": Attribute("text", "why it was stopped; empty if it was not"),
}


def _profiles(of: str) -> dict[str, Variable]:
    """What a profile says of each parameter or quantity."""
    columns = {
        "": ("number", f"end of the confidence interval, in the {of}'s unit; NaN if it is not bounded"),
        "verdict_": ("text", "bounded, or why it is not"),
        "reached_": ("number", f"how far it was followed, in the {of}'s unit"),
        "fallen_": ("number", "by how much the log likelihood had fallen there"),
        "certificate_": ("number", "share of the interval by which finer solves move its end"),
    }
    return {
        "value": Variable((of,), "number", f"at the largest likelihood, in the {of}'s unit"),
        **{
            f"{name}{side}": Variable((of,), kind, meaning)
            for side in ("lower", "upper")
            for name, (kind, meaning) in columns.items()
        },
        "certificate": Variable((of,), "number", "the larger of both"),
        "path": Variable((of, "side", "point", "other"), "number", "all parameters along the profile, in their units"),
        "path_value": Variable((of, "side", "point"), "number", f"the {of} itself along it"),
        "path_log_density": Variable((of, "side", "point"), "number", "log likelihood along it"),
    }


def _indices(of: str) -> dict[str, Variable]:
    """Sobol indices of inputs called `of`."""
    return {
        **_family(
            (of, "quantity"),
            {"S1": "first-order index: the input alone", "ST": "total index: with its interactions"},
            INTERVAL,
        ),
        **_family((of, f"other_{of}", "quantity"), {"S2": "second-order index of a pair"}, INTERVAL, optional=True),
        "resolved": Variable((of, "quantity"), "bool", "whether ST is known to be above `influential`, or below"),
        "n_needed": Variable((of, "quantity"), "number", "base samples that would tell"),
        "n_valid": Variable(("quantity",), "number", "base samples that were used"),
        "reason": Variable(("quantity",), "text", "why there are no indices, all NaN; empty otherwise"),
    }


OF_INDICES = {
    **ESTIMATE,
    **FAILED,
    **OF_QUANTITIES,
    "inputs": Attribute("text", "what the inputs are"),
    "noise": Attribute("text", "what becomes of the noise of a stochastic model"),
    "of": Attribute("text", "mean or variance: what the indices are of"),
    "over": Attribute("list", "dimensions over which one index is made"),
    "influential": Attribute("number", "an input matters if its ST exceeds this"),
    "n": Attribute("int", "base samples"),
    "n_requested": Attribute("int", "base samples that were asked for"),
    "replicates": Attribute("int", "runs for each row"),
    "evaluations": Attribute("int", "runs in all"),
    "resamples": Attribute("int", "resamples of the bootstrap"),
    "plan_seed": Attribute("int", "seed of the Sobol points"),
}


GROUPS: dict[str, Group] = {
    "structure": Group(
        "what the equations and outputs allow to be known, whatever the data",
        IDENTIFY,
        variables={
            "verdict": Variable(("parameter",), "text", "global, local, none or undecided"),
            "locally": Variable(("parameter",), "bool", "whether at most finitely many values are possible"),
            "reason": Variable(("parameter",), "text", "why, in words"),
            "method": Variable(("parameter",), "text", "what decided it"),
            "combination": Variable(("parameter",), "text", "identifiable combinations that contain the parameter"),
            "verdict_if_inputs_vary": Variable(
                ("parameter",), "text", "the verdict if inputs were arbitrary functions of time, where others are", True
            ),
            "reason_if_inputs_vary": Variable(("parameter",), "text", "why", optional=True),
            "direction": Variable(
                ("null_direction", "unknown"),
                "number",
                "changes of the logarithms that leave the outputs as they are; NaN where they depend on the values",
                optional=True,
            ),
            "expression": Variable(
                ("generator",), "text", "functions that generate all identifiable ones", optional=True
            ),
        },
        coordinates={
            **PARAMETERS,
            "unknown": Variable(("unknown",), "text", "parameters that enter the equations", optional=True),
        },
        attributes={
            "parameters": Attribute("json", "list of name, latex, unit, role, distribution, doc"),
            "units": Attribute("json", "unit by output, and of `time` where the model has one"),
            "of_levels": Attribute(
                "json", "list of parameters that are in the priors of several others, in no equation and no noise", True
            ),
            "equations": Attribute("json", "list of equations in LaTeX"),
            "outputs": Attribute("json", "list of outputs in LaTeX"),
            "transfer": Attribute(
                "json",
                "of a linear model: functions and poles in LaTeX; coefficients, name -> expression; fixed_by, "
                "parameter -> names of coefficients; empty otherwise",
            ),
            "suggestion": Attribute("json", "new name -> combination, for `Model.reparametrised`", True),
            "stretches": Attribute("int", "stretches of time between jumps, each asked by itself", True),
            "no_information": Attribute("text", "why there is no /fisher", True),
            "no_fit": Attribute("text", "why there is no /fit and no /profile", True),
            "no_prediction": Attribute("text", "why there is no /prediction", True),
            "measured": Attribute("text", "which measurements were asked about, where not one experiment", True),
            "method": Attribute("text", "methods and their sources", True),
            "verdict_meaning": Attribute("text", "what the verdicts mean", True),
            "level": Attribute("text", "global or local: how far was asked", True),
            "initial": Attribute("text", "given or shifted: the start that was asked about", True),
            "inputs": Attribute("text", "constant or functions: the inputs that were asked about", True),
            "rank": Attribute("int", "rank of the Jacobian of the output derivatives", True),
            "unknowns": Attribute("int", "number of unknowns", True),
            "order": Attribute("int", "order of the derivative that completed the rank", True),
            "failure_probability": Attribute("number", "bound on the probability that the rank is wrong", True),
            "global_failure_probability": Attribute("number", "the same of the global verdicts, estimated", True),
            "global_failure_supposes": Attribute("text", "what that estimate supposes", True),
            "repeats": Attribute("int", "random points that agree", True),
            "experiments": Attribute("text", "one, or several with different initial states", True),
            "generators_complete": Attribute("bool", "whether `expression` generates everything", True),
            "generators_reason": Attribute("text", "if not, why", True),
            "budget": Attribute("number", "limit of time, in seconds", True),
            "structural_seconds": Attribute("number", "time that it took, in seconds", True),
        },
    ),
    "fisher": Group(
        "how well the epistemic parameters could be known from such measurements, to first order",
        IDENTIFY,
        variables={
            "matrix": Variable(("parameter", "parameter_"), "number", "Fisher information, on the scale"),
            "eigenvalue": Variable(("mode",), "number", "its eigenvalues, falling; 0 where undetermined"),
            "direction": Variable(("mode", "parameter"), "number", "its eigenvectors"),
            "cramer_rao": Variable(("parameter",), "number", "least standard error, on the scale; inf if undetermined"),
            "standard_error": Variable(("parameter",), "number", "the same in the parameter's unit"),
            "value": Variable(("parameter",), "number", "where it is evaluated, in the parameter's unit"),
            "logarithmic": Variable(("parameter",), "bool", "whether the scale is the logarithm"),
            "combination": Variable(("mode",), "text", "name of the direction: a product of powers, or a sum"),
            "exact": Variable(
                ("mode",), "bool", "whether it is so nearby too; else weights are rounded, at this point"
            ),
            "kind": Variable(("mode",), "text", "determined; sloppy: less known than from the prior; flat; open"),
            "meaning": Variable(("mode",), "text", "what the measurements say of it, a sentence"),
            "prior_sd": Variable(("parameter",), "number", "standard deviation of the prior, on the scale"),
            "shrinkage": Variable(
                ("parameter",), "number", "1 minus posterior over prior variance, to first order and with normal priors"
            ),
            "function_exact": Variable(("function",), "bool", "as `exact`", True),
            "function_standard_error": Variable(("function",), "number", "least standard error, on the scale", True),
        },
        coordinates={
            **PARAMETERS,
            "parameter_": Variable(("parameter_",), "text", "name of the parameter"),
            "mode": Variable(("mode",), "int", "number of the eigenvalue"),
            "function": Variable(("function",), "text", "what is determined where not every parameter is", True),
        },
        attributes={
            "rank": Attribute("int", "directions that the measurements determine"),
            "condition": Attribute("number", "largest over smallest eigenvalue"),
            "scale": Attribute("text", "log or natural"),
            "at": Attribute("text", "prior medians, posterior medians, best fit or theta"),
        },
    ),
    "fit": Group(
        "the best fit: where many ascents of the posterior density ended",
        IDENTIFY,
        variables={
            "value": Variable(("parameter",), "number", "the best fit, in the parameter's unit"),
            "at_bound": Variable(("parameter",), "text", "lower or upper, if it is at that bound of the prior"),
            "log_density": Variable(("start",), "number", "where an ascent ended, the best first; -inf if it failed"),
            "verdict": Variable(("start",), "text", "how an ascent ended"),
            "optimum": Variable(("start",), "int", "which optimum it is at: 0 the best fit, -1 none"),
            "scores": Variable(("start",), "int", "evaluations of an ascent"),
            "begun": Variable(("start", "parameter"), "number", "where it began, in the parameter's unit"),
            "ended": Variable(("start", "parameter"), "number", "where it ended, in the parameter's unit"),
        },
        coordinates={**PARAMETERS, "start": Variable(("start",), "int", "number of the ascent")},
        attributes={
            "log_density": Attribute("number", "log likelihood and log prior of the best fit"),
            "log_likelihood": Attribute("number", "log likelihood of the best fit"),
            "log_prior": Attribute("number", "log prior of the best fit, on the scales of the priors"),
            "reached": Attribute("number", "share of the ascents that ended at the best fit"),
            "unseen": Attribute("number", "probability that another start would find an optimum that none has found"),
            "gain": Attribute("number", "log density that a further step is predicted to gain"),
            "solve_error": Attribute("number", "log density less that of solves with tolerances 100 times smaller"),
            "certificate": Attribute("number", "log density that these predict to be still to gain"),
            "verdict": Attribute("text", "converged, or what is not well"),
            "stopped": Attribute("text", "why the search was stopped; empty if it was not"),
            "starts": Attribute("int", "ascents that were asked for"),
        },
    ),
    "profile": Group(
        "how far each epistemic parameter may go, the others following, before the data contradict it",
        IDENTIFY,
        variables={
            **_profiles("parameter"),
            "relation": Variable(("parameter",), "text", "what the other parameters do along the profile"),
        },
        coordinates={**PARAMETERS, **ALONG_PROFILES},
        attributes=OF_PROFILES,
    ),
    "prediction": Group(
        "how far each quantity may go, the parameters following, before the data contradict it",
        IDENTIFY,
        variables={**_profiles("quantity"), "unit": Variable(("quantity",), "text", "unit of the quantity")},
        coordinates={**QUANTITIES, **ALONG_PROFILES},
        attributes={**OF_PROFILES, "of": Attribute("text", "the median unit, where units differ")},
    ),
    "practical": Group(
        "what structure, information, profile and posterior say of each epistemic parameter, side by side",
        ("identify", "calibrate"),
        variables={
            "verdict": Variable(("parameter",), "text", "identifiable, one-sided, not identifiable or undecided"),
            "explanation": Variable(("parameter",), "text", "why, and where the columns seem to disagree"),
            "structural": Variable(("parameter",), "text", "verdict of /structure"),
            "fisher": Variable(("parameter",), "text", "determined, sloppy (less known than from the prior) or lost"),
            "profile": Variable(("parameter",), "text", "bounded, or which sides are not"),
            "posterior": Variable(("parameter",), "text", "learned, partly learned or not learned"),
            "lower": Variable(("parameter",), "number", "end of the profile interval, in the parameter's unit"),
            "upper": Variable(("parameter",), "number", "its other end"),
            "shrinkage": Variable(("parameter",), "number", "1 - posterior over prior variance, from the information"),
            "posterior_width": Variable(
                ("parameter",), "number", "90 % interval of the posterior over the prior's, on the scale of /fisher"
            ),
        },
        coordinates=PARAMETERS,
    ),
    "experiment": Group(
        "what one more measurement would tell, and which would make known what is not",
        IDENTIFY,
        variables={
            "standard_error_before": Variable(("parameter",), "number", "least standard error now, in its unit"),
            "standard_error_after": Variable(
                ("candidate", "parameter"), "number", "the same with one measurement of the candidate"
            ),
            "ratio": Variable(("candidate", "parameter"), "number", "after over before; 0 if only then determined"),
            "rank_after": Variable(("candidate",), "int", "directions determined with it; -1 where it fails"),
            "reason": Variable(("candidate",), "text", "why it cannot be measured; empty where it can"),
            "experiment": Variable(("candidate",), "text", "experiment of the candidate"),
            "output": Variable(("candidate",), "text", "output of the candidate"),
            "time": Variable(("candidate",), "number", "time of the candidate"),
            "unit": Variable(("candidate",), "text", "unit that it measures, where units differ", True),
            "cost": Variable(("candidate",), "number", "price of one measurement"),
            "identifiable": Variable(("parameter",), "bool", "whether the data say more than the prior"),
            "prior_sd": Variable(("parameter",), "number", "standard deviation of the prior, in its unit"),
            "prescription": Variable(("parameter",), "text", "what to measure; empty where it is identifiable"),
            "prescribed_times": Variable(
                ("parameter", "candidate"), "int", "how often the prescription measures the candidate"
            ),
            "prescribed_cost": Variable(("parameter",), "number", "price of the prescription"),
            "standard_error_prescribed": Variable(("parameter",), "number", "standard error that it predicts"),
            "standard_error_tested": Variable(("parameter",), "number", "that from simulated data with it"),
            "estimate": Variable(("parameter",), "number", "estimate from them"),
            "identifiable_after": Variable(("parameter",), "bool", "whether it is identifiable with it"),
        },
        coordinates={**PARAMETERS, "candidate": Variable(("candidate",), "int", "number of the candidate")},
        attributes={
            "rank_before": Attribute("int", "directions that the measurements determine now"),
            "scale": Attribute("text", "log or natural: of the standard errors that were made small"),
            "share": Attribute("number", "standard error that was aimed at, over the standard deviation of the prior"),
            "simulation_seed": Attribute("int", "seed of the simulated data"),
        },
    ),
    "prior": Group(
        "draws from the prior",
        CALIBRATE,
        coordinates=CHAINS,
        each=Variable(("chain", "draw"), "number", "one epistemic parameter, in its unit"),
    ),
    "posterior": Group(
        "draws from the posterior",
        CALIBRATE,
        coordinates=CHAINS,
        attributes={
            **_phases("divergences", "int", "transitions that diverged"),
            **_phases("failed_solves", "int", "those of them in which a solve failed or the density was not finite"),
            **_phases("energy_errors", "list", "least and largest energy error of the others; empty if none"),
        },
        each=Variable(("chain", "draw", ...), "number", "one parameter, in its unit; an aleatory one by unit"),
        foreign=ARVIZ,
    ),
    "posterior_predictive": Group(
        "simulated measurements in place of the data",
        CALIBRATE,
        coordinates=CHAINS,
        each=Variable(("chain", "draw", ...), "number", f"one output, in its unit{ENTRIES}"),
    ),
    "observed_data": Group(
        "the data",
        CALIBRATE,
        each=Variable((...,), "number", f"one output, in its unit{ENTRIES}"),
    ),
    "sample_stats": Group(
        "what the sampler says of each draw",
        CALIBRATE,
        variables={
            "diverging": Variable(("chain", "draw"), "bool", "whether the transition diverged"),
            "maxdepth_reached": Variable(("chain", "draw"), "bool", "whether it was cut at the depth limit", True),
            "depth": Variable(("chain", "draw"), "int", "depth of the tree", True),
            "n_steps": Variable(("chain", "draw"), "int", "leapfrog steps", True),
            "step_size": Variable(("chain", "draw"), "number", "step size", True),
            "mean_tree_accept": Variable(("chain", "draw"), "number", "mean acceptance over the tree", True),
            "energy": Variable(("chain", "draw"), "number", "Hamiltonian energy", True),
            "logp": Variable(("chain", "draw"), "number", "log density on the sampler's scale", True),
            "of_mode": Variable(
                ("chain", "draw"),
                "int",
                "of modes that were sampled one by one: which of them a draw was taken from",
                True,
            ),
            "ancestor": Variable(
                ("chain", "draw"),
                "int",
                "of tempering: number of the particle at the beginning that it descends from",
                True,
            ),
            "log_evidence": Variable(
                ("chain",), "number", "of tempering: logarithm of the estimated density of the data", True
            ),
            "levels": Variable(("chain",), "int", "of tempering: powers of the likelihood that it took", True),
            "forgotten": Variable(
                ("chain",), "number", "of tempering: largest correlation of draws with where their moves began", True
            ),
        },
        coordinates=CHAINS,
        attributes={
            "sampler": Attribute("text", "nutpie, mclmc, pymc, numpyro or smc", True),
            "adaptation": Attribute("text", "of the mass matrix; empty where the sampler has none to choose", True),
            "target_accept": Attribute("number", "acceptance that the step size was tuned to", True),
            "why": Attribute("text", "why so: what was given, or what the rule of `calibration.sampling` found", True),
            "attempts": Attribute(
                "json", "list of what was tried; the draws are those of the one that is `kept`", True
            ),
            "log_evidence": Attribute("number", "of tempering: logarithm of the mean over chains", True),
            "log_evidence_error": Attribute("number", "its standard error; NaN of one chain", True),
        },
        foreign=ARVIZ,
    ),
    "log_likelihood": Group(
        "pointwise log-likelihood, for model comparison; only where the likelihood has terms",
        CALIBRATE,
        coordinates=CHAINS,
        attributes={
            "term": Attribute("text", "what one term is: a row, a unit, ..."),
            "moving_ends": Attribute("json", "list of outputs whose possible values end where parameters say", True),
        },
        each=Variable(("chain", "draw", ...), "number", f"log density of each term{ENTRIES}"),
    ),
    "posterior_band": Group(
        "quantiles over time of a new measurement in the same unit, to be drawn",
        CALIBRATE,
        coordinates={
            "time": Variable(("run", "grid"), "number", "times of the run"),
            "quantile": Variable(("quantile",), "number", "which quantile, from 0 to 1"),
            "experiment": Variable(("run",), "label", "experiment of the run"),
            "unit": Variable(("run",), "label", "unit of the run"),
            "setting": Variable(("run",), "number", "the one input in which runs at one instant differ", True),
        },
        attributes={
            "draws": Attribute("int", "posterior draws that were used"),
            "meaning": Attribute("text", "what the quantiles are of"),
        },
        each=Variable(("run", "quantile", "grid"), "number", "one output, in its unit"),
    ),
    "convergence": Group(
        "whether the draws can be trusted",
        CALIBRATE,
        variables={
            "rhat": Variable(("parameter",), "number", "rank-normalised R-hat"),
            "ess_bulk": Variable(("parameter",), "number", "bulk effective sample size"),
            "ess_tail": Variable(("parameter",), "number", "tail effective sample size"),
            "tail_acceptance": Variable(
                ("parameter",), "number", "mean acceptance of transitions from the outermost draws", True
            ),
            "resolved": Variable(("parameter",), "bool", "whether all of these meet the limits"),
            "mode": Variable(
                ("chain",), "int", "number of the place that a chain stays in; all 0 where they agree", True
            ),
            "missed_share": Variable(
                ("missed",), "number", "of an optimum that draws have missed: its share of the posterior at least", True
            ),
            "missed_value": Variable(("missed", "parameter"), "number", "parameters there, in their units", True),
        },
        coordinates={**PARAMETERS, "chain": Variable(("chain",), "int", "number of the chain", True)},
        attributes={
            "largest_rhat": Attribute("number", "limit of R-hat"),
            "least_ess": Attribute("number", "limit of both effective sample sizes"),
            "least_tail_acceptance": Attribute("number", "limit of `tail_acceptance`", True),
            "missed_modes": Attribute("text", "which modes draws have missed; only where they have", True),
        },
    ),
    "log_prior": Group(
        "log density of the prior of each epistemic parameter at posterior draws, for its sensitivity to powers of it",
        CALIBRATE,
        coordinates=CHAINS,
        each=Variable(("chain", "draw"), "number", "of one epistemic parameter, given those that its prior names"),
    ),
    "prior_predictive": Group(
        "simulated measurements at draws from the prior",
        CALIBRATE,
        coordinates=CHAINS,
        attributes={"failed": Attribute("int", "draws in which a solve failed")},
        each=Variable(("chain", "draw", ...), "number", f"one output, in its unit{ENTRIES}"),
    ),
    "pit": Group(
        "probability that is predicted for less than each measurement, uniform where the model fits",
        CALIBRATE,
        attributes={"of": Attribute("text", "whether the measurement was left out, or part of the calibration")},
        each=Variable(
            (...,), "number", f"of one output; a random point of what is possible where that is more{ENTRIES}"
        ),
    ),
    "residuals": Group(
        "the same as quantiles of a standard normal distribution",
        CALIBRATE,
        each=Variable((...,), "number", f"of one output{ENTRIES}"),
    ),
    "units": Group(
        "individual estimates, and how far they are drawn to the population",
        CALIBRATE,
        variables={
            "mean": Variable(("unit", "parameter"), "number", "posterior mean, in the parameter's unit"),
            "sd": Variable(("unit", "parameter"), "number", "posterior standard deviation"),
            "deviation": Variable(
                ("unit", "parameter"), "number", "posterior mean of the standardised deviation from the population"
            ),
            "shrinkage": Variable(("parameter",), "number", "1 - variance of the deviations over units"),
            "shrinkage_standard_error": Variable(("parameter",), "number", "its standard error"),
            "high": Variable(("parameter",), "bool", "whether it exceeds `limit`"),
        },
        coordinates={**PARAMETERS, "unit": Variable(("unit",), "label", "label of the unit")},
        attributes={"limit": Attribute("number", "shrinkage beyond which estimates say little of the unit")},
    ),
    "visual_check": Group(
        "percentiles of the data over time against those of simulated tables with other units of the population",
        CALIBRATE,
        variables={
            "observed": Variable(("output", "percentile", "part"), "number", "of the data, in the output's unit"),
            "simulated": Variable(
                ("output", "percentile", "interval", "part"), "number", "quantiles of those of simulated tables"
            ),
            "time": Variable(("output", "part"), "number", "median time of the part; NaN where an output has fewer"),
        },
        coordinates={
            "output": Variable(("output",), "text", "name of the output"),
            "percentile": Variable(("percentile",), "number", "which percentile, from 0 to 1"),
            "interval": Variable(("interval",), "number", "which quantile over tables, from 0 to 1"),
            "part": Variable(("part",), "int", "number of the part of the time"),
        },
    ),
    "checks": Group(
        "whether the calibrated model fits, what prior and data contribute, and what to try",
        CALIBRATE,
        variables={
            "rows": Variable(("output",), "int", "measurements that were looked at"),
            "p_value": Variable(("output",), "number", "that /pit is uniform"),
            "pit_difference": Variable(
                ("output", "point"), "number", "empirical distribution function of /pit less the uniform one"
            ),
            "pit_lower": Variable(("output", "point"), "number", "lower end of the 95 % band of the whole curve"),
            "pit_upper": Variable(("output", "point"), "number", "its upper end"),
            "misfit": Variable(("output",), "text", "narrow, wide, above, below or form; empty where it fits"),
            "coverage": Variable(("output", "level"), "number", "share of the measurements in central intervals"),
            "coverage_standard_error": Variable(("output", "level"), "number", "its error where the model fits"),
            "p_value_by_time": Variable(("output", "part"), "number", "the same as `p_value` in a part of the time"),
            "time_from": Variable(("output", "part"), "number", "where the part begins"),
            "time_to": Variable(("output", "part"), "number", "where it ends"),
            "contraction": Variable(("parameter",), "number", "1 - posterior over prior variance"),
            "prior_sensitivity": Variable(
                ("parameter",), "number", "by how much a power of the prior moves the posterior; NaN without terms"
            ),
            "likelihood_sensitivity": Variable(("parameter",), "number", "the same of the likelihood"),
        },
        coordinates={
            **PARAMETERS,
            "output": Variable(("output",), "text", "name of the output"),
            "level": Variable(("level",), "number", "level of the intervals"),
            "point": Variable(("point",), "number", "where curves are looked at, from 0 to 1"),
            "part": Variable(("part",), "int", "number of the part of the time"),
        },
        attributes={
            "findings": Attribute("json", "list of what is wrong, with what to try"),
            "summary": Attribute("text", "whether anything is, with the figures"),
            "elpd": Attribute("number", "expected log predictive density of a term of the likelihood left out", True),
            "elpd_standard_error": Attribute("number", "its standard error", True),
            "effective_parameters": Attribute("number", "by how much it is below that of the data themselves", True),
            "terms": Attribute("int", "terms of the likelihood", True),
            "largest_pareto_k": Attribute("number", "of the importance weights that leave a term out", True),
            "pareto_k_limit": Attribute("number", "up to where these can be relied on", True),
            "doubtful": Attribute("int", "terms beyond it", True),
        },
    ),
    "simulation_based_calibration": Group(
        "ranks of true values among posterior draws, over data simulated from the prior",
        ("sbc",),
        variables={
            "rank": Variable(("repetition", "quantity"), "int", "posterior draws below the truth, 0 to `ranks`"),
            "truth": Variable(("repetition", "quantity"), "number", "what the data were simulated with"),
            "mean": Variable(("repetition", "quantity"), "number", "posterior mean"),
            "sd": Variable(("repetition", "quantity"), "number", "posterior standard deviation"),
            "p_value": Variable(("quantity",), "number", "that ranks are uniform, by their curve and their spread"),
            "difference": Variable(
                ("quantity", "point"), "number", "empirical distribution function of the ranks less the uniform one"
            ),
            "lower": Variable(("quantity", "point"), "number", "lower end of the 95 % band of the whole curve"),
            "upper": Variable(("quantity", "point"), "number", "its upper end"),
            "coverage": Variable(("level", "quantity"), "number", "how often central intervals have the truth"),
            "coverage_standard_error": Variable(("level",), "number", "its error where calibration is right"),
            "contraction": Variable(("quantity",), "number", "share of the prior variance that the data remove"),
        },
        coordinates={
            "quantity": Variable(("quantity",), "text", "name of the parameter, or log-likelihood"),
            "repetition": Variable(("repetition",), "int", "number of the simulated table"),
            "level": Variable(("level",), "number", "level of the intervals"),
            "point": Variable(("point",), "number", "where curves are looked at, from 0 to 1"),
        },
        attributes={
            "ranks": Attribute("int", "posterior draws among which a truth is ranked"),
            "uniform": Attribute("bool", "whether no p-value is below .05 over the number of quantities"),
            "failed": Attribute("int", "tables whose simulation failed, left out"),
            "not_converged": Attribute("int", "tables whose chains did not converge, left out"),
            "resolved": Attribute("bool", "whether ranks are not uniform, or tables are as many as `needed`"),
            "needed": Attribute("int", "tables that show a posterior sd that is too small by a fifth, in 4 of 5 cases"),
            "meaning": Attribute("text", "what was found, in a sentence"),
        },
    ),
    "predicted": Group(
        "quantiles of the outputs of a new or a known unit under a design, at posterior draws",
        PREDICT,
        variables={
            "value": Variable(("output", "quantile", "time"), "number", "the output itself, in its unit"),
            "value_standard_error": Variable(("output", "quantile", "time"), "number", "its Monte Carlo error"),
            "measured": Variable(
                ("output", "quantile", "time"), "number", "a measurement of it, with noise; NaN where it has none"
            ),
            "measured_standard_error": Variable(("output", "quantile", "time"), "number", "its Monte Carlo error"),
        },
        coordinates={
            "output": Variable(("output",), "text", "name of the output"),
            "quantile": Variable(("quantile",), "number", "which quantile, from 0 to 1"),
            "time": Variable(("time",), "number", "time of the prediction"),
        },
        attributes={
            "of": Attribute("text", "a new unit, or the label of a known one"),
            "inputs": Attribute("json", "inputs of the design by name"),
            "covariates": Attribute("json", "covariates of the unit by name"),
            "draws": Attribute("int", "posterior draws that were run"),
            "failed": Attribute("int", "those of them whose run failed, left out"),
            "failed_runs": Attribute("json", "why runs failed -> how many"),
            "noise": Attribute("text", "why there are no measurements; empty where there are"),
        },
    ),
    "variance": Group(
        "the variance of each quantity in a new unit, split into its sources",
        DECOMPOSE,
        variables={
            **_parts(("quantity",)),
            "mean": Variable(("quantity",), "number", "mean, in the quantity's unit"),
            "interval": Variable(("bound", "quantity"), "number", "quantiles, in the quantity's unit"),
            "event": Variable(("quantity",), "bool", "whether it is true or false, its mean being a probability"),
            "unit": Variable(("quantity",), "text", "unit of the quantity"),
            "doc": Variable(("quantity",), "text", "what the quantity is"),
        },
        coordinates={**QUANTITIES, "bound": Variable(("bound",), "number", "which quantile, from 0 to 1")},
        attributes={
            **SPLIT,
            **FAILED,
            **OF_QUANTITIES,
            "draws": Attribute("int", "draws of the epistemic parameters"),
            "shapley": Attribute("text", "why there is no /shapley; empty otherwise"),
            "not_over_time": Attribute("json", "output that is not in /variance_over_time -> why"),
        },
    ),
    "variance_over_time": Group(
        "the same of one measurement of each output, over time",
        DECOMPOSE,
        variables=_parts(("output", "time")),
        coordinates={
            "output": Variable(("output",), "text", "name of the output"),
            "time": Variable(("time",), "number", "time of the measurement"),
        },
        attributes={**SPLIT, **OF_QUANTITIES},
    ),
    "sobol": Group(
        "which inputs matter for each quantity",
        DECOMPOSE,
        variables=_indices("parameter"),
        coordinates={
            "parameter": Variable(
                ("parameter",), "text", "name of the input; `epistemic` is the posterior as one input"
            ),
            "other_parameter": Variable(("other_parameter",), "text", "the other input of a pair", optional=True),
            **QUANTITIES,
        },
        attributes=OF_INDICES,
    ),
    "sources": Group(
        "of a reaction network that is simulated exactly: where the variance of a single run comes from",
        DECOMPOSE,
        variables={
            **_indices("source"),
            "variance": Variable(("quantity",), "number", "variance of a single run in a new unit, in squared units"),
        },
        coordinates={
            "source": Variable(("source",), "text", "name of a parameter, `epistemic`, or the noise of a reaction"),
            "kind": Variable(("source",), "text", "epistemic, aleatory or reaction"),
            "other_source": Variable(("other_source",), "text", "the other source of a pair", optional=True),
            **QUANTITIES,
        },
        attributes=OF_INDICES,
    ),
    "shapley": Group(
        "what the data have left unknown of each quantity, shared out between the parameters",
        DECOMPOSE,
        variables={
            **_family(
                ("parameter", "quantity"),
                {
                    "shapley": "Shapley effect",
                    "S1": "closed first-order index: the parameter alone",
                    "ST": "total index: what only the parameter tells",
                },
                {**WITH_ERROR, "_bias": ", likely bias of smoothing"},
            ),
            "resolved": Variable(("parameter", "quantity"), "bool", "whether the bias is less than the sampling error"),
            "reason": Variable(("parameter", "quantity"), "text", "if not, what to do"),
            "explained": Variable(("quantity",), "number", "share of the variance that neighbours account for"),
            "n_valid": Variable(("quantity",), "number", "runs that were used"),
        },
        coordinates={**PARAMETERS, **QUANTITIES},
        attributes={
            **ESTIMATE,
            **OF_QUANTITIES,
            "coverage": Attribute("text", "measured coverage of the intervals"),
            "noise": Attribute("text", "what becomes of the variance between units"),
            "neighbours": Attribute("int", "neighbours of each half"),
            "orders": Attribute("text", "all subsets, or how many random orders"),
        },
    ),
    "separation": Group(
        "of a reduced model: whether the time scales allow it",
        REDUCED,
        variables={
            "verdict": Variable(("experiment",), "text", "strong, weak, absent or unknown, at the medians"),
            "reason": Variable(("experiment",), "text", "why, in words"),
            "epsilon": Variable(("experiment",), "number", "slow over fast rate, the largest"),
            "layer": Variable(("experiment",), "number", "change of a slow state while the fast ones relax, relative"),
            "error": Variable(("experiment",), "number", "error of a slow state, relative to its size"),
            "output_error": Variable(("experiment",), "number", "error of an output, relative to its largest value"),
            "verdict_of_draw": Variable(("draw",), "text", "the verdict at a draw of the parameters"),
            "epsilon_of_draw": Variable(("draw",), "number", "slow over fast rate at a draw"),
            "error_of_draw": Variable(("draw",), "number", "error of a slow state at a draw"),
        },
        coordinates={
            "experiment": Variable(("experiment",), "text", "name of the experiment, or of a quantity's own design"),
            "draw": Variable(("draw",), "int", "number of the draw"),
        },
        attributes={
            **OF_QUANTITIES,
            "fast": Attribute("json", "list of the states that were left out"),
            "verdict": Attribute("text", "the worst at the medians"),
            "share_strong": Attribute("number", "share of the draws with a strong separation"),
            "drawn_from": Attribute("text", "prior or posterior"),
            "warning": Attribute("text", "what to be warned of; empty where all is well"),
            "meaning": Attribute("text", "what the verdicts mean"),
        },
    ),
    "balance": Group(
        "of a coupled model: what is where, what crossed, and whether anything leaks",
        COUPLED,
        variables={
            "content": Variable(("experiment", "account", "point"), "number", "amount, in the account's unit"),
            "residual": Variable(
                ("experiment", "account", "point"), "number", "change less what came in and was made, since the start"
            ),
            "received": Variable(("experiment", "account"), "number", "net amount through exchanges, at the end"),
            "supplied": Variable(("experiment", "account"), "number", "net amount from declared sources, at the end"),
            "size": Variable(("experiment", "account"), "number", "largest amount in the account"),
            "imbalance": Variable(("experiment", "account"), "number", "largest residual, relative to the size"),
            "leak": Variable(("experiment", "account"), "bool", "whether that is more than rounding"),
            "crossed": Variable(("experiment", "exchange"), "number", "amount through an exchange, at the end"),
            "reason": Variable(("experiment",), "text", "why the run failed; empty where it did not"),
            "stable": Variable(("experiment",), "bool", "whether the schedule is predicted to be stable"),
            "advice": Variable(("experiment",), "text", "what is predicted of the schedule"),
        },
        coordinates={
            "experiment": Variable(("experiment",), "text", "name of the experiment"),
            "account": Variable(("account",), "text", "part: quantity, or all: quantity"),
            "part": Variable(("account",), "text", "name of the part, or all"),
            "quantity": Variable(("account",), "text", "what is conserved"),
            "unit": Variable(("account",), "text", "unit of the amounts"),
            "exchange": Variable(("exchange",), "text", "name of the exchange"),
            "moves": Variable(("exchange",), "text", "quantity that it moves"),
            "source": Variable(("exchange",), "text", "part that it leaves"),
            "target": Variable(("exchange",), "text", "part that it enters"),
            "time": Variable(("experiment", "point"), "number", "times of the run, from the start on"),
        },
        attributes={
            "at": Attribute("text", "prior medians, best fit or posterior medians"),
            "schedule": Attribute("text", "the schedule of the runs"),
            "rounding": Attribute("number", "imbalance up to which a residual is rounding"),
            "meaning": Attribute("text", "what rounding and a leak are"),
            "parts": Attribute("json", "list of the parts"),
            "warning": Attribute("text", "the worst leak; empty where nothing leaks"),
        },
    ),
}


def describe(name: str | None = None) -> pd.DataFrame:
    """The groups of the tree, or the variables, coordinates and attributes of one of them, as a table.

    Args:
        name: of a group, "/" for what stands at the root of the tree; None for all groups.

    Returns:
        by `group`: `verb`, `meaning`, `contents`; of one group by `name`: `what` (variable, coordinate or attribute),
        `dims`, `kind`, `meaning`.

    Example:
        >>> describe("convergence").loc["rhat", "dims"]
        '(parameter)'
    """
    if name is None:
        groups = [
            (f"/{each}", " or ".join(group.verbs), group.meaning, _contents(group)) for each, group in GROUPS.items()
        ]
        return pd.DataFrame(groups, columns=["group", "verb", "meaning", "contents"]).set_index("group")
    if name == "/":
        group, origin = Group("", (), attributes=ROOT), {}
    else:
        group, origin = GROUPS[name], ORIGIN
    variables = {**({"<name>": group.each} if group.each else {}), **group.variables}
    rows = [
        *[(key, "variable", each.written_dims, each.kind, each.meaning) for key, each in variables.items()],
        *[(key, "coordinate", each.written_dims, each.kind, each.meaning) for key, each in group.coordinates.items()],
        *[(key, "attribute", "", each.kind, each.meaning) for key, each in {**group.attributes, **origin}.items()],
        *([("...", "attribute", "", "", group.foreign)] if group.foreign else []),
    ]
    return pd.DataFrame(rows, columns=["name", "what", "dims", "kind", "meaning"]).set_index("name")


def _contents(group: Group) -> str:
    """The variables of a group, without the ends of intervals and errors."""
    if group.each is not None:
        return f"{group.each.meaning} {group.each.written_dims}"
    ends = (*WITH_ERROR, "_bias")
    by_dims: dict[str, list[str]] = {}
    for name, variable in group.variables.items():
        if not name.endswith(ends) or name == "standard_error":
            by_dims.setdefault(variable.written_dims, []).append(name)
    return "; ".join(f"{', '.join(names)} {dims}" for dims, names in by_dims.items())


def markdown() -> str:
    """The groups as a table for the README."""
    rows = [f"| `{name}` | {row.verb} | {row.meaning} | {row.contents} |" for name, row in describe().iterrows()]
    return "\n".join(["| group | from | what it tells | variables |", "|---|---|---|---|", *rows])
