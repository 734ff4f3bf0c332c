"""What the tree says, in sentences: the headings of the report, each an answer and not a topic.

A sentence never claims more than its interval allows: where that leaves a question open, it says
"not resolved".
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from ..results import attribute, group
from .tables import (
    coverage,
    generators,
    identifiability,
    narrowing,
    parameters,
    parts,
    percent,
    rounded,
    time_unit,
    unit_name,
    unit_text,
    with_variance,
)

_WORDS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
NOT_RESOLVED = "not resolved"
# Directions and functions that are named in one sentence.
MOST_NAMED = 4
# What of a variance would vanish were the parameters known.
UNCERTAINTY = "parameter uncertainty"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: 'seven parameters', '1 draw' stays 'one draw', 132 stays digits."""
    word = _WORDS[number] if 0 <= number < len(_WORDS) else f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return f"{word} {noun if number == 1 else plural or f'{noun}s'}"


def listed(names: list[str], link: str = "and") -> str:
    """'a, b and c'."""
    return f"{', '.join(names[:-1])} {link} {names[-1]}" if len(names) > 1 else "".join(names)


def ess_text(size: float) -> str:
    """An effective sample size, which is itself known to about 10 %."""
    return rounded(size, max(size / 10, 10))


def sentence(text: str) -> str:
    """With a capital first letter, unless it starts with a name that has none."""
    return text[:1].upper() + text[1:]


def part_label(name: str, tree: xr.DataTree) -> str:
    """What a part of the variance means, in words."""
    unit = unit_name(tree)
    between = f"differs between {unit}s" if unit != "unit" else "differs between units or is random"
    return {"epistemic": UNCERTAINTY, "aleatory": between, "measurement": "measurement error"}[name]


KINDS_OF_SOURCES = {
    "epistemic": UNCERTAINTY,
    "aleatory": "differs between units",
    "noise": "noise of a run",
}


def input_label(name: str) -> str:
    """The posterior enters the indices as one input called `epistemic`; parameters keep their names."""
    return UNCERTAINTY if name == "epistemic" else name


def model(tree: xr.DataTree) -> str:
    """How many unknowns of which kind."""
    roles = parameters(tree)["role"]
    epistemic, aleatory = int((roles == "epistemic").sum()), int((roles == "aleatory").sum())
    differing = (
        f", and {counted(aleatory, 'that differs', 'that differ')} between {unit_name(tree)}s" if aleatory else ""
    )
    return sentence(f"{counted(epistemic, 'unknown parameter')}{differing}")


def known(tree: xr.DataTree) -> str:
    """Which parameter is known best and which worst, relative to its size."""
    table = identifiability(tree)
    if "posterior_relative" not in table:
        return "The parameters and what is assumed of them"
    lost = unresolved(tree)
    relative = table["posterior_relative"].dropna().drop(lost, errors="ignore")
    said = [f"{NOT_RESOLVED}: {listed(lost)}"] if lost else []
    if len(relative) == 1:
        said.append(f"{relative.index[0]} is known to ±{percent(relative.iloc[0])}")
    elif len(relative):
        best, worst = relative.idxmin(), relative.idxmax()
        said.append(f"best known is {best}, to ±{percent(relative[best])}")
        said.append(f"least known {worst}, to ±{percent(relative[worst])}")
    return sentence("; ".join(said)) if lost or len(relative) > 1 else "; ".join(said)


def unresolved(tree: xr.DataTree) -> list[str]:
    """The parameters whose draws do not satisfy the limits of convergence."""
    convergence = group(tree, "convergence")
    if convergence is None:
        return []
    return convergence["parameter"].values[~convergence["resolved"].values.astype(bool)].astype(str).tolist()


def structural(tree: xr.DataTree) -> str:
    """The verdicts of structural identifiability, those that fail by name."""
    table = identifiability(tree)
    verdict = table["verdict"].dropna()
    half = verdict.index[(verdict == "undecided") & _locally(table, verdict.index)].tolist()
    one, some, lost = (verdict.index[verdict == kind].tolist() for kind in ("global", "local", "none"))
    open_ = [name for name in verdict.index[verdict == "undecided"] if name not in half]
    said = []
    if lost:
        said.append(f"{listed(lost)} cannot be identified from these outputs, however good the data")
    if len(open_) == len(verdict):
        return f"Whether the parameters can be identified at all is {NOT_RESOLVED}"
    if open_:
        said.append(f"for {listed(open_)} the question is {NOT_RESOLVED}")
    # how it is said beside others, and by itself
    kinds = [(one, "globally", "globally"), (some, "only locally", "locally"), (half, "at least locally", "locally")]
    *named, last = sorted([kind for kind in kinds if kind[0]], key=lambda kind: len(kind[0])) or [([], "", "")]
    said += [f"{listed(names)} {'is' if len(names) == 1 else 'are'} {how} identifiable" for names, how, _ in named]
    if last[0]:
        names, beside, alone = last
        who = f"{'the other' if said else 'all'} {counted(len(names), 'parameter')}"
        if len(names) == 1 or (not lost and not open_ and len(verdict) <= 3):
            who = listed(names)
        said.append(f"{who} {'is' if len(names) == 1 else 'are'} {beside if named else alone} identifiable")
    if half:
        which = "them" if len(half) == len(verdict) else listed(half)
        said.append(f"whether other values of {which} give the same outputs is {NOT_RESOLVED}")
    text = "; ".join(said)
    return text if lost or len(verdict) <= 3 else sentence(text)


def other_inputs(tree: xr.DataTree) -> str:
    """What another experiment, with inputs that vary in time, could show; empty where nothing."""
    structure = group(tree, "structure")
    if structure is None or "verdict_if_inputs_vary" not in structure:
        return ""
    shown = structure["verdict_if_inputs_vary"].values != structure["verdict"].values
    names = structure["parameter"].values[shown].tolist()
    return f"With inputs that vary in time, {listed(names)} could be identified from the same outputs."


def structural_method(tree: xr.DataTree) -> str:
    """How the structural verdicts were found, and how sure they are."""

    def found(key: str):
        return attribute(tree, "structure", key)

    said = [f"Structure: {found('method')}."] if found("method") else []
    said += [f"Asked of the measurements {found('measured')}."] if found("measured") else []
    if (chance := found("failure_probability")) is not None:
        chance = rounded(chance, digits=1)
        said.append("Whether a parameter is identifiable at least locally was computed at random points.")
        said.append(f"The probability that these answers are wrong is below {chance}.")
    if found("repeats"):
        chance = rounded(found("global_failure_probability"), digits=1)
        said.append(f"The probability that “global” or “local” is wrong is estimated as {chance}.")
        said.append("Complex and negative values count as values.")
        if found("experiments") == "several":
            said.append("Some verdicts take several experiments with different initial states.")
    if (took := found("structural_seconds")) is not None:
        took, budget = rounded(took, digits=2), rounded(found("budget"), digits=2)
        said.append(f"It took {took} s of at most about {budget} s.")
    return " ".join(said)


def _locally(table, names):
    """Whether at most finitely many values are possible, by parameter; False where a tree does not say."""
    if "locally" not in table:
        return np.zeros(len(names), dtype=bool)
    return table["locally"].reindex(names).eq(True).to_numpy()


def combinations(tree: xr.DataTree) -> str:
    """What generates everything that the outputs determine; empty where that is the parameters themselves."""
    expressions, complete = generators(tree)
    names = set(identifiability(tree).index)
    together = [unit_text(text) for text in expressions if text not in names]
    if not together:
        return ""
    alone = [text for text in expressions if text in names]
    if complete:
        return f"Whatever these outputs determine is a function of {listed([*alone, *together])}."
    return f"Determined in combination: {listed(together)}; there may be more."


def transfer(tree: xr.DataTree) -> str:
    """What the coefficients of the transfer functions say of each parameter; empty where the model is not linear."""
    found = attribute(tree, "structure", "transfer") or {}
    if not found.get("functions"):
        return ""
    text = "The equations are linear in the states, so all that the outputs can show is in the coefficients of the "
    expressions = {name: unit_text(expression) for name, expression in found["coefficients"].items()}
    text += f"transfer functions: {listed([f'{unit_text(name)}: {text}' for name, text in expressions.items()])}. "
    resolved = [
        f"{name} by {listed([expressions[each] for each in names])}" for name, names in found["fixed_by"].items()
    ]
    if resolved:
        text += f"Up to finitely many values they fix {'; '.join(resolved)}. "
    return text + "The poles come as a set: which rate is which, only a numerator can tell."


def suggestion(tree: xr.DataTree) -> str:
    """The combinations by which the model can be written anew; empty where there is nothing to gain."""
    found = attribute(tree, "structure", "suggestion") or {}
    if not found:
        return ""
    pairs = ", ".join(f'"{name}": "{text}"' for name, text in found.items())
    return f"`model.reparametrised({{{pairs}}})` is the same model with these in place of what cannot be known."


def information(tree: xr.DataTree) -> str:
    """Rank and condition of the Fisher information, and the direction that is known least."""
    fisher = group(tree, "fisher")
    eigenvalue = fisher["eigenvalue"].values
    rank, scale, at = (attribute(tree, "fisher", key) for key in ("rank", "scale", "at"))
    size = len(eigenvalue)
    logs = "logarithms of the parameters" if scale == "log" else "parameters"
    space = f"{counted(size, 'direction')} in the space of the {logs} (at the {at})"
    meaning, kind = (fisher[name].values.astype(str) for name in ("meaning", "kind"))
    if rank < size:
        text = f"To first order these data determine only {counted(rank, 'of', 'of')} {space}: "
        text += f"{counted(size - rank, 'direction')} cannot be seen at all. "
        text += f"{_listed_meanings(meaning[kind == 'flat'])}{_listed_meanings(dict.fromkeys(meaning[kind == 'open']))}"
        joined = [name for name in fisher["function"].values.astype(str) if name not in fisher["parameter"].values]
        return (text + f"What is determined of them is {listed(joined[:MOST_NAMED])}." * bool(joined)).rstrip()
    ratio = np.sqrt(eigenvalue.max() / eigenvalue.min())
    better, condition = (rounded(value, digits=2) for value in (ratio, ratio**2))
    text = f"To first order these data determine all {space}; the best is known {better} times better than the "
    text += f"worst (condition number {condition}). "
    return text + f"Known least: {_listed_meanings(meaning[[int(np.argmin(eigenvalue))]])}".rstrip()


def _listed_meanings(meanings: Iterable[str]) -> str:
    """A sentence of what is said of a few directions, with a space after it; empty where there are none."""
    first = list(meanings)[:MOST_NAMED]
    return f"{'; '.join(first)}. " if first else ""


def covered(tree: xr.DataTree, output: str) -> str:
    """The share of observations inside the 90 % predictive interval."""
    inside, total = coverage(tree, output)
    share = f"{percent(inside / total)} of {total} observations of {output}"
    return f"{share} lie inside the {percent(0.9)} predictive interval"


def learned(tree: xr.DataTree) -> str:
    """What the data have narrowed most and least."""
    factor = narrowing(tree).sort_values(ascending=False)
    if len(factor) == 0:
        return "Prior and posterior"
    fold = [f"{rounded(value, digits=2)}\N{NON-BREAKING HYPHEN}fold" for value in factor]
    if len(factor) == 1:
        return f"The data have narrowed {factor.index[0]} {fold[0]}"
    return f"The data have narrowed {factor.index[0]} most, {fold[0]}, and {factor.index[-1]} least, {fold[-1]}"


def converged(tree: xr.DataTree) -> str:
    """Whether all chains agree, naming what does not."""
    names, lost = tree["convergence"]["parameter"].values, unresolved(tree)
    if lost:
        return f"{sentence(NOT_RESOLVED)}: {listed(lost)} need{'s' * (len(lost) == 1)} more draws"
    return f"All {counted(len(names), 'population parameter' if unit_name(tree) != 'unit' else 'parameter')} converged"


def partial(tree: xr.DataTree, names: Sequence[str], study: str) -> str | None:
    """Which of these groups rest on a calibration that was stopped, and what to do; None where all are whole."""
    for name in names:
        found = attribute(tree, name, "partial")
        if found:
            return (
                f"Partial: the calibration was {found}. What is said here rests on these draws alone; "
                f"`uqbench calibrate {study}` starts it again, with `--resume` from the chains that were finished."
            )
    return None


def modes(tree: xr.DataTree) -> str | None:
    """Which chains stay in different modes, or what they have missed, and what that means; None where nothing is."""
    convergence = group(tree, "convergence")
    if convergence is None or "mode" not in convergence:
        return None
    if missed := attribute(tree, "convergence", "missed_modes"):
        return f"{missed} What is said of it here is not to be used."
    if not convergence["mode"].any():
        return None
    chains, mode = convergence["chain"].values, convergence["mode"].values
    places = [f"chains {listed([str(chain) for chain in chains[mode == each]])}" for each in sorted(set(mode))]
    return (
        f"Several modes: {'; '.join(places)} stay in different ones. Each has seen a part of the posterior, and how "
        "much belongs to each part is not known from them: what is said of it here is not to be used. `--sampler smc` "
        "follows all modes; a prior that excludes what is known not to be leaves one."
    )


def sampled(tree: xr.DataTree) -> str | None:
    """How the draws were made, and what was tried before; None of results that do not say so."""
    attempts = attribute(tree, "sample_stats", "attempts")
    if not attempts:
        return None

    def how(attempt: dict) -> str:
        if attempt["sampler"] == "smc":
            return "tempering (sequential Monte Carlo)"
        adaptation = f", adaptation {attempt['adaptation']}" if attempt["adaptation"] else ""
        return f"{attempt['sampler']}{adaptation}, target acceptance {attempt['target_accept']:g}"

    (kept,) = (number for number, each in enumerate(attempts) if each["kept"])
    said = [f"Sampled by {how(attempts[kept])}: {attempts[kept]['why']}."]
    said += [f"Before that by {how(each)}: {each['came']}." for each in attempts[:kept]]
    said += [
        f"Then, as {each['why']}, by {how(each)}, whose draws were no better: {each['came']}."
        for each in attempts[kept + 1 :]
    ]
    evidence, error = (attribute(tree, "sample_stats", name) for name in ("log_evidence", "log_evidence_error"))
    if evidence is not None:
        said.append(f"Logarithm of the evidence {evidence:.2f}, standard error {error:.2f}.")
    return " ".join(said)


def remedy(tree: xr.DataTree, study: str) -> str | None:
    """What does not satisfy the limits, with its numbers and what to do; None where everything does."""
    lost = unresolved(tree)
    if not lost:
        return None
    rows = parameters(tree).loc[lost]
    said = [
        f"{name} (R-hat {rounded(row.rhat, 0.01)}, ESS bulk {ess_text(row.ess_bulk)}, tail {ess_text(row.ess_tail)}"
        + (f", acceptance from its tails {row.tail_acceptance:.2f})" if _cut(tree, row) else ")")
        for name, row in rows.iterrows()
    ]
    more = 4 * attribute(tree, "convergence", "settings")["draws"]
    cut = any(_cut(tree, row) for _, row in rows.iterrows())
    return (
        f"{sentence(NOT_RESOLVED)}: {'; '.join(said)}, where {limits(tree)} is asked for. What is said of it here is "
        f"not to be used. Take more draws (`uqbench calibrate {study} --draws {more}`); if R-hat stays high, the "
        "chains have found different answers."
        + (" Tails that were not entered ask for shorter steps (`--target-accept 0.99`)." if cut else "")
    )


def limits(tree: xr.DataTree) -> str:
    """What counts as converged."""
    rhat, ess = (attribute(tree, "convergence", key) for key in ("largest_rhat", "least_ess"))
    accepted = attribute(tree, "convergence", "least_tail_acceptance")
    entered = "" if accepted is None else f", acceptance from the tails ≥ {accepted}"
    return f"R-hat ≤ {rhat}, bulk and tail ESS ≥ {ess}{entered}"


def _cut(tree: xr.DataTree, row: pd.Series) -> bool:
    """Whether draws of a parameter did not get into its tails."""
    return "tail_acceptance" in row and row.tail_acceptance < attribute(tree, "convergence", "least_tail_acceptance")


def rejected(tree: xr.DataTree) -> list[str]:
    """Every divergence and failed solve of a calibration, in words: a paragraph for warm-up, one for the kept draws."""
    posterior, stats = group(tree, "posterior"), group(tree, "sample_stats")
    if attribute(tree, "sample_stats", "sampler") == "smc":
        # it has neither a warm-up nor transitions that could diverge
        return []
    counts = {phase: attribute(tree, "posterior", f"divergences_{phase}") for phase in ("warmup", "sampling")}
    if counts["sampling"] is None and stats is not None and "diverging" in stats:
        counts["sampling"] = int(stats["diverging"].sum())
    total = posterior.sizes["chain"] * posterior.sizes["draw"]
    said = []
    for phase, where, of, advice in (
        ("warmup", "During warm-up", "", "Those steps belong to the adaptation and are in no result."),
        (
            "sampling",
            "Among the kept draws",
            f" of {total}",
            "Near such points draws may be missing; if there are more than a few, raise `--target-accept`.",
        ),
    ):
        count, failed = counts[phase], attribute(tree, "posterior", f"failed_solves_{phase}")
        if count is None:
            said.append(f"{where}, divergences were not recorded.")
            continue
        steps = (
            f"{count}{of} {'transition' if count == 1 and not of else 'transitions'} diverged"
            if count
            else f"no transition{of} diverged"
        )
        text = f"{where}, {steps}{_failed(count, failed)}."
        if ends := attribute(tree, "posterior", f"energy_errors_{phase}"):
            size = " to ".join(rounded(value) for value in dict.fromkeys(ends))
            text += f" The others jumped in energy, by {size}."
        said.append(f"{text} {advice}" if count else text)
    return said


def _failed(divergences: int, failed) -> str:
    """How many of the divergences were failed solves; a failed solve is a rejected point and counts as a divergence."""
    if failed is None:
        return "; failed solves were not recorded"
    if not failed:
        return " and no solve failed"
    if not divergences:
        points = counted(failed, "point was", "points were")
        return f"; {points} rejected because a solve failed or the density was not finite"
    who = "" if failed == divergences == 1 else "all of them " if failed == divergences else f"{failed} of them "
    return f", {who}because a solve failed or the density was not finite"


def failures(tree: xr.DataTree, name: str) -> str | None:
    """Failed runs of a decomposition, in words; None where none failed."""
    reasons = attribute(tree, name, "failed_runs")
    if not reasons:
        return None
    said = "; ".join(f"{count} because of “{why}”" for why, count in reasons.items())
    return f"Runs that failed and were left out: {said}."


def left_out(tree: xr.DataTree, name: str) -> str | None:
    """Which quantities of /variance or /sobol have no numbers, and why; outputs over time too."""
    dataset, members = group(tree, name), {}
    if "reason" in dataset:
        pairs = zip(dataset["quantity"].values, dataset["reason"].values, strict=True)
        members = {quantity: why for quantity, why in pairs if why}
    if name == "variance":
        over_time = attribute(tree, name, "not_over_time") or {}
        members |= {f"{output} over time": why for output, why in over_time.items()}
    if not members:
        return None
    return f"Left out: {'; '.join(f'{member}, since {why}' for member, why in members.items())}."


def split(tree: xr.DataTree) -> str:
    """Which part of each quantity's variance dominates, where the interval tells."""
    dataset = with_variance(group(tree, "variance"))
    dominant: dict[str, list[tuple[str, str]]] = {}
    open_ = []
    for quantity in map(str, dataset["quantity"].values):
        share = dataset.sel(quantity=quantity)
        most = max(parts(dataset), key=lambda part, share=share: float(share[f"{part}_share"]))
        if float(share[f"{most}_share_lower"]) > 0.5:
            dominant.setdefault(most, []).append((quantity, percent(float(share[f"{most}_share"]))))
        else:
            open_.append(quantity)
    unit = unit_name(tree)
    between = f"is between {unit}s" if unit != "unit" else "is between units or is random"
    meaning = {"epistemic": f"is {UNCERTAINTY}", "aleatory": between, "measurement": "is measurement error"}
    said = []
    for part, members in dominant.items():
        amounts = [
            f"{'all' if size == percent(1.0) else size} of {'that' if place else 'the variance'} of {quantity}"
            for place, (quantity, size) in enumerate(members)
        ]
        said.append(f"{listed(amounts)} {meaning[part]}")
    if open_:
        said.append(f"which part dominates the variance of {listed(open_)} is {NOT_RESOLVED}")
    return sentence("; ".join(said))


def over_time(tree: xr.DataTree, output: str) -> str:
    """When the unknown matters most for one output."""
    dataset = tree["variance_over_time"].to_dataset().sel(output=output).dropna("time", subset=["epistemic_share"])
    at = int(np.argmax(dataset["epistemic_share"].values))
    error = float(dataset["epistemic_share_standard_error"][at])
    share, low, high = (percent(float(dataset[f"epistemic_share{end}"][at]), error) for end in ("", "_lower", "_upper"))
    unit = time_unit(tree)
    when = f"{float(dataset['time'][at]):.3g}{' ' + unit if unit else ''}"
    bound = f"at most {share} ({low} to {high}) is {UNCERTAINTY}, at time {when}"
    return f"Of the variance of a new measurement of {output} {bound}."


def open_indices(tree: xr.DataTree) -> str:
    """Which inputs may or may not matter, and how many base samples would tell; empty where all is resolved."""
    dataset = with_variance(group(tree, "sobol"))
    if "resolved" not in dataset or bool(dataset["resolved"].all()):
        return ""
    said = []
    for quantity in dataset["quantity"].values:
        chosen = dataset.sel(quantity=quantity)
        open_ = [input_label(str(name)) for name in chosen["parameter"].values[~chosen["resolved"].values.astype(bool)]]
        said += [f"{listed(open_)} for {quantity}"] if open_ else []
    needed = np.where(dataset["resolved"], 0.0, dataset["n_needed"]).max()
    influential, n = (attribute(tree, "sobol", key) for key in ("influential", "n"))
    text = f"Whether the total index exceeds {percent(influential)} is {NOT_RESOLVED} at n = {n}: {'; '.join(said)}"
    if np.isfinite(needed) and needed < 1e7:
        return f"{text}; about n = {2 ** int(np.ceil(np.log2(needed)))} would tell."
    return f"{text}; it lies too close to that for any n to tell."


def inputs(tree: xr.DataTree) -> str:
    """Which input matters most for each quantity, where the intervals tell."""
    return f"What matters most: {_most(with_variance(group(tree, 'sobol')), 'ST')}"


def shares(tree: xr.DataTree) -> str:
    """Which parameter has the largest share of the parameter uncertainty of each quantity, where the intervals tell."""
    return f"Most of the {UNCERTAINTY}: {_most(group(tree, 'shapley'), 'shapley')}"


def only_uncertain(tree: xr.DataTree) -> str:
    """What there is to say of inputs where neither indices nor effects were computed."""
    roles = parameters(tree)["role"]
    uncertain = roles.index[roles == "epistemic"].tolist()
    if len(uncertain) == 1:
        return f"All of the {UNCERTAINTY} comes from {uncertain[0]}"
    return f"How the parameters share their uncertainty is {NOT_RESOLVED}"


def _most(dataset: xr.Dataset, index: str) -> str:
    """'k for AUC; ka or CL for Cmax (which of them is not resolved)'."""
    said = []
    for quantity in dataset["quantity"].values:
        chosen = dataset.sel(quantity=quantity)
        order = np.argsort(-chosen[index].values)
        first, others = order[0], order[1:]
        competing = [i for i in others if float(chosen[f"{index}_upper"][i]) > float(chosen[f"{index}_lower"][first])]
        label = [input_label(str(name)) for name in chosen["parameter"].values]
        if competing:
            either = listed([label[i] for i in (first, *competing)], "or")
            said.append(f"{either} for {quantity} (which of them is {NOT_RESOLVED})")
        else:
            said.append(f"{label[first]} for {quantity}")
    return "; ".join(said)
