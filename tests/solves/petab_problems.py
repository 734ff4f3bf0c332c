"""A small reader of PEtab problems (version 1, with SBML models): enough for those with published log-likelihoods.

A formula, of SBML or of PEtab, is a tree of libsbml that is evaluated as an author would have written it: on JAX
scalars, by names that are states, parameters, inputs or other formulas. What the reader does not know it refuses. No
method, tolerance or switching time is named: what is tested are the defaults.

Schmiester et al. 2021, "PEtab: interoperable specification of parameter estimation problems in systems biology",
doi:10.1371/journal.pcbi.1008646.
"""

import math
import re
from collections.abc import Callable, Mapping
from functools import cached_property, reduce
from pathlib import Path

import jax.numpy as jnp
import libsbml
import numpy as np
import pandas as pd

import uqbench as uq
from uqbench.dynamics.steady_state import steady_state

OPERATIONS = {
    libsbml.AST_PLUS: lambda *terms: sum(terms),
    libsbml.AST_TIMES: lambda *factors: math.prod(factors),
    libsbml.AST_MINUS: lambda first, *second: first - second[0] if second else -first,
    libsbml.AST_DIVIDE: lambda numerator, denominator: numerator / denominator,
    libsbml.AST_POWER: lambda base, exponent: base**exponent,
    libsbml.AST_FUNCTION_POWER: lambda base, exponent: base**exponent,
    libsbml.AST_FUNCTION_ROOT: lambda degree, value: value ** (1 / degree),
    libsbml.AST_FUNCTION_EXP: jnp.exp,
    libsbml.AST_FUNCTION_LN: jnp.log,
    libsbml.AST_FUNCTION_LOG: lambda base, value: jnp.log(value) / math.log(base),
    libsbml.AST_FUNCTION_ABS: jnp.abs,
    libsbml.AST_RELATIONAL_LT: lambda a, b: a < b,
    libsbml.AST_RELATIONAL_LEQ: lambda a, b: a <= b,
    libsbml.AST_RELATIONAL_GT: lambda a, b: a > b,
    libsbml.AST_RELATIONAL_GEQ: lambda a, b: a >= b,
    libsbml.AST_LOGICAL_AND: lambda *conditions: reduce(jnp.logical_and, conditions),
    libsbml.AST_LOGICAL_OR: lambda *conditions: reduce(jnp.logical_or, conditions),
    libsbml.AST_LOGICAL_NOT: jnp.logical_not,
}


class Unsupported(Exception):
    """Something that these problems do not contain."""


def evaluated(node: libsbml.ASTNode, name: Callable[[str], object], time) -> object:
    """The value of a formula, given the values of its names and the time."""
    kind = node.getType()
    parts = [node.getChild(index) for index in range(node.getNumChildren())]
    if kind == libsbml.AST_INTEGER:
        return int(node.getInteger())
    if node.isNumber():
        return float(node.getValue())
    if kind == libsbml.AST_NAME_TIME:
        return time
    if kind == libsbml.AST_NAME:
        return name(node.getName())
    values = [evaluated(part, name, time) for part in parts]
    if kind == libsbml.AST_FUNCTION_PIECEWISE:
        # value, condition, value, condition, ..., otherwise
        result = values[-1] if len(values) % 2 else jnp.nan
        for index in reversed(range(len(values) // 2)):
            result = jnp.where(values[2 * index + 1], values[2 * index], result)
        return result
    if kind not in OPERATIONS:
        raise Unsupported(f"{libsbml.formulaToL3String(node)}")
    return OPERATIONS[kind](*values)


def parsed(formula: str) -> libsbml.ASTNode:
    """A formula of PEtab, where `log` is the natural logarithm."""
    settings = libsbml.L3ParserSettings()
    settings.setParseLog(libsbml.L3P_PARSE_LOG_AS_LN)
    node = libsbml.parseL3FormulaWithSettings(str(formula), settings)
    if node is None:
        raise Unsupported(libsbml.getLastParseL3Error())
    return node


def listed(items) -> list:
    return [items.get(index) for index in range(items.size())]


class Sbml:
    """What an SBML model says, by name: constants, initial assignments, rules, rate laws, and slopes of the states."""

    def __init__(self, path: Path):
        self.document = libsbml.readSBMLFromFile(str(path))
        for option in ("expandFunctionDefinitions", "promoteLocalParameters"):
            properties = libsbml.ConversionProperties()
            properties.addOption(option, True)
            if self.document.convert(properties) != libsbml.LIBSBML_OPERATION_SUCCESS:
                raise Unsupported(option)
        model = self.document.getModel()
        if model.getNumEvents() or any(rule.isAlgebraic() for rule in listed(model.getListOfRules())):
            raise Unsupported("SBML events and algebraic rules")
        rules = listed(model.getListOfRules())
        self.rules = {rule.getVariable(): rule.getMath() for rule in rules if rule.isAssignment()}
        self.rates = {rule.getVariable(): rule.getMath() for rule in rules if rule.isRate()}
        self.assigned = {item.getSymbol(): item.getMath() for item in listed(model.getListOfInitialAssignments())}
        self.laws = {item.getId(): item.getKineticLaw().getMath() for item in listed(model.getListOfReactions())}
        self.constants = {item.getId(): item.getValue() for item in listed(model.getListOfParameters())}
        self.constants |= {item.getId(): item.getSize() for item in listed(model.getListOfCompartments())}
        self.species = {item.getId(): item for item in listed(model.getListOfSpecies())}
        self.volume = {name: item.getCompartment() for name, item in self.species.items()}
        self.fluxes = self._fluxes(model)

    def _fluxes(self, model) -> dict[str, list[tuple[float, str]]]:
        """Species -> (molecules, reaction) of the species that reactions change."""
        fluxes = {}
        for reaction in listed(model.getListOfReactions()):
            for references, sign in ((reaction.getListOfReactants(), -1.0), (reaction.getListOfProducts(), 1.0)):
                for reference in listed(references):
                    species = self.species[reference.getSpecies()]
                    if not (species.getBoundaryCondition() or species.getConstant()):
                        term = (sign * reference.getStoichiometry(), reaction.getId())
                        fluxes.setdefault(species.getId(), []).append(term)
        return fluxes

    @property
    def states(self) -> tuple[str, ...]:
        return (*self.fluxes, *self.rates)

    def in_amounts(self, name: str) -> bool:
        """A species whose name stands for its amount, not for its concentration."""
        return self.species[name].getHasOnlySubstanceUnits()


class Scope:
    """The values of names at one instant; each is computed once and only where it is needed."""

    def __init__(self, problem: "PetabProblem", t, p, inputs, *, y=None, prefix: str = "set", placeholders=None):
        self.problem, self.time, self.p, self.inputs, self.prefix = problem, t, p, inputs, prefix
        self.known = dict(y or {})
        self.placeholders = placeholders or {}
        self.at_start = y is None

    def __call__(self, name: str):
        if name not in self.known:
            self.known[name] = self._find(name)
        return self.known[name]

    def value(self, node):
        return evaluated(node, self, self.time)

    def _find(self, name):
        sbml, problem = self.problem.sbml, self.problem
        if name in self.placeholders:
            return self.placeholders[name].value(self)
        if name in problem.settings:
            return problem.settings[name][self.prefix].value(self)
        for formulas in (sbml.rules, sbml.laws):
            if name in formulas:
                return self.value(formulas[name])
        if name in problem.parameters.index:
            return self.p[name]
        if name in sbml.assigned:
            start = self if self.at_start else Scope(problem, 0.0, self.p, self.inputs, prefix=self.prefix)
            return start.value(sbml.assigned[name])
        if name in sbml.species:
            return self._start_of(sbml.species[name])
        if name in sbml.constants:
            return float(sbml.constants[name])
        raise Unsupported(f"the name {name!r}")

    def _start_of(self, species):
        volume, amounts = self(species.getCompartment()), species.getHasOnlySubstanceUnits()
        if species.isSetInitialAmount():
            return species.getInitialAmount() if amounts else species.getInitialAmount() / volume
        concentration = species.getInitialConcentration() if species.isSetInitialConcentration() else 0.0
        return concentration * volume if amounts else concentration


class Chosen:
    """A number or parameter that depends on the experiment, and perhaps on the time, as inputs of the designs.

    Args:
        key: under which the inputs are kept.
        cells: experiment -> what the tables say at each of its times, a number or the name of a parameter.
        problem: whose parameters the names are.
    """

    def __init__(self, key: str, cells: Mapping[str, list[str]], problem: "PetabProblem"):
        distinct = list(dict.fromkeys(cell for row in cells.values() for cell in row if cell is not None))
        self.constant = distinct[0] if len(distinct) == 1 else None
        if self.constant is not None:
            return
        # where nothing is said any valid value will do: nothing is measured there
        filled = {name: [distinct[0] if cell is None else cell for cell in row] for name, row in cells.items()}
        self.timed = any(len(set(row)) > 1 for row in filled.values())
        self.terms = []
        for term in ("", *(cell for cell in distinct if number(cell) is None)):
            name = f"{key} {term}".strip()
            self.terms.append((name, term))
            for experiment, inputs in problem.inputs.items():
                row = filled.get(experiment, [distinct[0]])
                weights = [(number(cell) or 0.0) if not term else float(cell == term) for cell in row]
                padded = weights + [weights[-1]] * (problem.longest - len(weights))
                inputs[name] = np.array(padded) if self.timed else weights[0]

    def value(self, scope: Scope):
        if self.constant is not None:
            fixed = number(self.constant)
            return scope(self.constant) if fixed is None else fixed
        total = 0.0
        for name, term in self.terms:
            weight = scope.inputs[name]
            if self.timed:
                weight = jnp.sum(jnp.where(scope.inputs["measured at"] == scope.time, weight, 0.0))
            total = total + (weight * scope(term) if term else weight)
        return total


def number(cell) -> float | None:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return None


def cells(column: pd.Series) -> list[str | None]:
    return [None if pd.isna(cell) or cell == "" else str(cell) for cell in column]


class PetabProblem:
    """A PEtab problem as a study.

    Args:
        folder: with the tables and the model, named as in the collection of benchmark problems.
        settings: of `uq.Ode`, for references at tight tolerances; none for the solves under test.
    """

    def __init__(self, folder: Path, **settings):
        def table(pattern, index):
            (path,) = folder.glob(pattern)
            return pd.read_csv(path, sep="\t").set_index(index)

        self.name, self.ode = folder.name, settings
        self.parameters = table("parameters_*.tsv", "parameterId")
        self.observables = table("observables_*.tsv", "observableId")
        self.conditions = table("experimentalCondition_*.tsv", "conditionId").drop(columns="conditionName")
        self.sbml = Sbml(next(folder.glob("model_*.xml")))
        self.rows = self._measurements(table("measurementData_*.tsv", "observableId").reset_index())
        pairs = self.rows.drop_duplicates("experiment").set_index("experiment")
        self.after, self.before = dict(pairs["simulationConditionId"]), dict(pairs["before"])
        if len({name is None for name in self.before.values()}) > 1:
            raise Unsupported("steady states before some experiments only")
        if self.equilibrated and set(self.conditions.columns) & set(self.sbml.states):
            raise Unsupported("states that are set after a steady state")
        self.grids = {name: np.unique(rows["time"]) for name, rows in self.rows.groupby("experiment", sort=False)}
        self.longest = max(map(len, self.grids.values()))
        self.inputs = {
            name: {"measured at": np.append(grid, np.full(self.longest - len(grid), -1.0))}
            for name, grid in self.grids.items()
        }
        self.settings = {}
        for name in self.conditions.columns:
            column = dict(zip(self.conditions.index, cells(self.conditions[name]), strict=True))
            self.settings[name] = {"set": self._by_condition("set", name, column, self.after)}
            if self.equilibrated:
                self.settings[name]["before"] = self._by_condition("before", name, column, self.before)
        self.outputs = {
            output: self._output(observable, output, rows)
            for (observable, output), rows in self.rows.groupby(["observableId", "output"], sort=False)
        }

    @property
    def equilibrated(self) -> bool:
        return None not in self.before.values()

    def _by_condition(self, prefix, name, column, conditions) -> Chosen:
        return Chosen(f"{prefix} {name}", {run: [column[of]] for run, of in conditions.items()}, self)

    def _measurements(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The table with experiments (a simulation and what precedes it) and outputs.

        Values of placeholders that differ at one time of one experiment make an output of each.
        """
        for name in ("preequilibrationConditionId", "observableParameters", "noiseParameters"):
            rows[name] = cells(rows[name]) if name in rows else None
        rows["before"] = (
            rows["preequilibrationConditionId"].astype(object).where(rows["preequilibrationConditionId"].notna(), None)
        )
        rows["experiment"] = [
            after if before is None else f"{after} after {before}"
            for after, before in zip(rows["simulationConditionId"], rows["before"], strict=True)
        ]
        filled = rows["observableParameters"].fillna("") + "|" + rows["noiseParameters"].fillna("")
        rows["output"] = rows["observableId"]
        for _, place in rows.groupby(["experiment", "observableId", "time"], sort=False).groups.items():
            codes, _ = pd.factorize(filled[place])
            names = zip(rows["observableId"][place], codes, strict=True)
            rows.loc[place, "output"] = [f"{name} {code}" if code else name for name, code in names]
        return rows

    def _output(self, observable: str, output: str, rows: pd.DataFrame) -> tuple:
        """Formulas of the output and of its noise, and what their placeholders stand for."""
        row, placeholders = self.observables.loc[observable], {}
        formulas = parsed(row["observableFormula"]), parsed(row["noiseFormula"])
        for kind in ("observable", "noise"):
            given = [cell.split(";") if isinstance(cell, str) else [] for cell in rows[f"{kind}Parameters"]]
            for index in range(max(map(len, given))):
                found = {name: dict.fromkeys(grid) for name, grid in self.grids.items()}
                for experiment, time, values in zip(rows["experiment"], rows["time"], given, strict=True):
                    found[experiment][time] = values[index]
                table = {name: list(column.values()) for name, column in found.items() if any(column.values())}
                placeholder = f"{kind}Parameter{index + 1}_{observable}"
                placeholders[placeholder] = Chosen(f"{placeholder} of {output}", table, self)
        return *formulas, placeholders

    # --- the functions of the model

    def rhs(self, t, y, p, inputs):
        return self._slopes(Scope(self, t, p, inputs, y=y))

    def rhs_before(self, t, y, p, inputs):
        return self._slopes(Scope(self, 0.0, p, inputs, y=y, prefix="before"))

    def start(self, p, inputs):
        return self._start(Scope(self, 0.0, p, inputs))

    def start_before(self, p, inputs):
        return self._start(Scope(self, 0.0, p, inputs, prefix="before"))

    def at_rest(self, p, inputs):
        """The steady state under the conditions of the pre-equilibration."""
        return steady_state(self.system_before, p, inputs).states

    def _start(self, scope: Scope) -> dict:
        return {name: jnp.asarray(scope(name), float) for name in self.sbml.states}

    def _slopes(self, scope: Scope) -> dict:
        slopes = {name: scope.value(node) for name, node in self.sbml.rates.items()}
        for name, terms in self.sbml.fluxes.items():
            change = sum(molecules * scope(reaction) for molecules, reaction in terms)
            slopes[name] = change if self.sbml.in_amounts(name) else change / scope(self.sbml.volume[name])
        return slopes

    def observe(self, y, p, t, inputs):
        found = {}
        for output, (formula, noise, placeholders) in self.outputs.items():
            scope = Scope(self, t, p, inputs, y=y, placeholders=placeholders)
            value = scope.value(formula)
            found[output] = (jnp.log10(value) if self._logarithmic(output) else value) + 0.0
            if self._noise_name(output) is None:
                found[f"noise of {output}"] = scope.value(noise) + 0.0
        return found

    def _logarithmic(self, output: str) -> bool:
        """Noise is normal on the decadic logarithm of the output."""
        observable = re.sub(r" \d+$", "", output)
        return self.observables.get("observableTransformation", {}).get(observable) == "log10"

    def _noise_name(self, output: str) -> str | float | None:
        """The noise where it is a single parameter or number, so that no output is needed for it."""
        _, noise, placeholders = self.outputs[output]
        said = libsbml.formulaToL3String(noise)
        if said in placeholders:
            said = placeholders[said].constant
        if said is None or said in self.settings or (number(said) is None and said not in self.parameters.index):
            return None
        return said if number(said) is None else number(said)

    # --- the study

    @cached_property
    def system_before(self) -> uq.Ode:
        return uq.Ode(self.start_before, self.rhs_before, **self.ode)

    @cached_property
    def model(self) -> uq.Model:
        noise = {}
        for output in self.outputs:
            name = self._noise_name(output)
            spread = f"noise of {output}" if name is None else name
            noise[output] = uq.Normal(output, spread)
        units = dict.fromkeys(self.outputs, "")
        units |= {f"noise of {output}": "" for output in self.outputs if self._noise_name(output) is None}
        system = uq.Ode(self.at_rest if self.equilibrated else self.start, self.rhs, **self.ode)
        return uq.Model(self.space, system, self.observe, units, noise, name=self.name)

    @cached_property
    def space(self) -> uq.Space:
        """Uniform between the bounds on the scale of each parameter, as PEtab has it."""
        entries = {}
        for name, row in self.parameters.iterrows():
            if not int(row["estimate"]):
                entries[name] = uq.fixed(float(row["nominalValue"]))
            else:
                family = uq.LogUniform if str(row["parameterScale"]).startswith("log") else uq.Uniform
                entries[name] = uq.epistemic(family(float(row["lowerBound"]), float(row["upperBound"])))
        return uq.Space(entries)

    @cached_property
    def study(self) -> uq.Study:
        data = self.rows.rename(columns={"measurement": "value"})[["experiment", "output", "time", "value"]]
        logarithmic = data["output"].map(self._logarithmic)
        data.loc[logarithmic, "value"] = np.log10(data.loc[logarithmic, "value"])
        designs = {name: uq.Design(inputs=inputs) for name, inputs in self.inputs.items()}
        return uq.Study(self.name, self.model, designs, data)

    @cached_property
    def offset(self) -> float:
        """Log-density of the data minus that of the data of the study, where these are logarithms."""
        values = self.rows.loc[self.rows["output"].map(self._logarithmic), "measurement"]
        return -float(np.sum(np.log(values * math.log(10))))

    @cached_property
    def nominal(self) -> dict[str, float]:
        """The published values of the parameters that are estimated."""
        free = self.parameters[self.parameters["estimate"].astype(int) == 1]
        return {name: float(value) for name, value in free["nominalValue"].items()}
