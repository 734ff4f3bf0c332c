"""Reactions: one description, and every kind of dynamics that follows from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...system import Frozen, Ode
from ..sde import Sde
from . import moments
from .distribution import MasterEquation
from .hybrid import Hybrid, hybrid_view
from .jumps import Jumps
from .langevin import langevin
from .network import Network
from .rate_equations import rate_equations


@dataclass(frozen=True)
class Reactions(Network):
    """Molecules in a well-mixed volume that react one reaction at a time.

    The description is of single molecules. Its views are kinds of dynamics for `Model(system=)`: `ode` (rate
    equations), `moments`, `linear_noise` and `langevin` are approximations whose states are real numbers; `jumps`
    (simulation) and `master_equation` (distributions) are exact; `hybrid` is exact for the species that it leaves
    discrete. The states of all are copy numbers, by the names of the species.

    Args:
        species: name -> copy number at the start: a number, or the name of a parameter or an input; or the names alone,
            where all start at 0 or `initial` says it.
        stoichiometry: reaction -> species -> by how many molecules it changes, a whole number.
        propensities: `propensities(y, p, inputs)` or `propensities(t, y, p, inputs)`, in plain JAX: reaction -> its
            probability per time unit, from the copy numbers `y`, each a number. Those of two equal molecules go with
            `y["A"] * (y["A"] - 1)`.
        initial: `initial(p, inputs)` -> species -> copy number, for what `species` cannot say.

    Raises:
        InputError: with every finding: no species or reactions, species that are not declared, changes that are no
            whole numbers, reactions that change nothing, functions of other arguments.

    Example:
        >>> import uqbench as uq
        >>> network = Reactions(
        ...     {"M": 0},
        ...     {"birth": {"M": 1}, "death": {"M": -1}},
        ...     lambda y, p, inputs: {"birth": p["k"], "death": p["g"] * y["M"]},
        ... )
        >>> space = uq.Space(k=uq.epistemic(uq.Gamma(10.0, 1.0)), g=uq.fixed(1.0))
        >>> model = uq.Model(space, network.ode(), units={"M": ""})
        >>> round(float(uq.evaluate(model, {"k": 10.0}, uq.Design([1.0])).outputs["M"][0]), 4)
        6.3212
    """

    def ode(self, volume: str | None = None) -> Ode:
        """Rate equations: every reaction at its mean rate, as if copy numbers had no fluctuations.

        Args:
            volume: name of the parameter or input that is the volume (or size) of the system. The states are
                concentrations then, and the rates those of a large volume, in which combinatorial factors are gone:
                the law of mass action. None: copy numbers, at the propensities as they are written.

        Returns:
            an `Ode`, exact where propensities are linear.
        """
        return rate_equations(self, volume)

    def moments(self, order: int = 2, closure: str = "normal") -> Ode:
        """Means and covariances of the copy numbers.

        Args:
            order: 1, the means alone (the rate equations), or 2.
            closure: what the third moments are where they enter: "normal" (the third central moments are 0),
                "lognormal", or "poisson" (those of independent Poisson numbers).

        Returns:
            an `Ode` with the species as means, `var_A` for each and `cov_A_B` for each pair in the order of the
            species. Exact where propensities are linear; of second degree they depend on the closure; others are
            expanded to second order around the means.

        Raises:
            InputError: an unknown order or closure.
        """
        return moments.moment_equations(self, order, closure)

    def linear_noise(self) -> Ode:
        """Linear noise: rate equations, and the covariance of small fluctuations around them (van Kampen 1961).

        Returns:
            an `Ode` with the states of `moments`; exact where propensities are linear.
        """
        return moments.linear_noise(self)

    def langevin(self, step: float | None = None, tolerance: float = 0.05) -> Sde:
        """The chemical Langevin equation (Gillespie 2000, doi:10.1063/1.481811): every reaction fires at its mean rate
        and with the noise of that rate, by real numbers of molecules.

        Right where every reaction fires often between two changes of its propensity; a propensity that would be
        negative is 0, and near empty species paths are biased.

        Args:
            step, tolerance: of the `Sde`.
        """
        return langevin(self, step, tolerance)

    def jumps(self, max_events: int = 10_000_000, *, leap: float | None = None) -> Jumps:
        """Simulation of single molecules: exact (Gillespie 1977, doi:10.1021/j100540a008), or by leaps.

        Leaps are an approximation for large counts (Cao, Gillespie & Petzold 2006, doi:10.1063/1.2159468): many
        reactions fire at once, at the propensities of the beginning of a leap, which is so short that no propensity
        is expected to change by more than the share `leap`. Means and variances are wrong by about that share of what
        changes; compare with half of it, or with exact simulation. Where few molecules are left, single events are
        simulated exactly, so that no count becomes negative.

        Args:
            max_events: reactions of one trajectory (leaps and single events where there are leaps), after which it has
                a code: a network that explodes has no end.
            leap: None, exact; or the share by which a propensity may change in a leap, such as 0.03.

        Returns:
            a stochastic system: a run needs a key, and gives the same trajectory for the same key, in whatever batch.

        Raises:
            InputError: settings out of range; leaps where propensities are functions of time.
        """
        return Jumps(self, max_events, leap)

    def hybrid(
        self,
        discrete: Sequence[str] | str,
        *,
        max_events: int = 1_000_000,
        max_steps: int = 100_000,
        rtol: float = 1e-6,
    ) -> Hybrid:
        """A piecewise deterministic Markov process (Davis 1984): few molecules jump, the many flow between the jumps.

        Every reaction that changes a species of `discrete` jumps; it may change others by its stoichiometry. All other
        reactions make rate equations of the continuous species. Propensities of jumps are integrated along with them,
        never held between jumps. What is left out is the noise of the other reactions: `hybrid_error` says how much
        that is, `propose_partition` where it is little.

        A continuous species has fewer molecules than a reaction takes only as a real number; a rate that is negative
        there is then none, and a jump that takes more than there is ends the run with a code.

        Args:
            discrete: names of the species that jump.
            max_events: jumps of one trajectory, after which it has a code.
            max_steps: of the differential equation between two jumps or times of the design, after which it has one.
            rtol: local error of a step, relative to the counts, and as a probability that a jump comes in it.

        Returns:
            a stochastic system: a run needs a key.

        Raises:
            InputError: unknown names, no species or all of them discrete; limits and tolerances out of range.
        """
        return hybrid_view(self, discrete, max_events, max_steps, rtol)

    def master_equation(
        self, bounds: Mapping[str, int] | None = None, *, tolerance: float = 1e-8, max_states: int = 100_000
    ) -> MasterEquation:
        """The probability of every count, from the chemical master equation in a box of counts.

        Args:
            bounds: species -> largest count of the box; those that are left out follow from means and variances.
            tolerance: of the probability that leaves the box, which bounds the error (finite state projection, Munsky &
                Khammash 2006, doi:10.1063/1.2145882); beyond it a run has a code.
            max_states: of a box that is not given.

        Returns:
            a system whose outputs are expected values of functions of the counts, `observe(y, p)`, and which has the
            distribution of those that are measured without noise: their data are snapshots, each row another cell.
        """
        return MasterEquation(self, Frozen(bounds or {}), tolerance, max_states)
