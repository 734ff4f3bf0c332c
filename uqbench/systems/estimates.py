"""How the derivative of an expected value is found, and what it is then: exact, of an approximation, or an estimate."""

from enum import Enum


class Estimate(Enum):
    """What a derivative of an expected value is; a member has a `label`, and the sentence that a user reads."""

    label: str
    meaning: str

    def __init__(self, label: str, meaning: str):
        self.label, self.meaning = label, meaning

    EQUATIONS = (
        "exact",
        "the derivative of the solution of the model's own deterministic equations, to the tolerance of the solve.",
    )
    APPROXIMATION = (
        "exact of an approximation",
        "the derivative of equations that approximate the expected values of a network (rate equations, moments, "
        "linear noise), to the tolerance of the solve; exact where propensities are linear.",
    )
    MASTER_EQUATION = (
        "exact",
        "the derivative of expected values under the master equation in its box of counts, out of which no more than "
        "the `tolerance` of the view leaks; beyond that a run has a code.",
    )
    PATHWISE = (
        "pathwise",
        "the mean of derivatives along paths: unbiased, with its standard error, for the discretised equation in its "
        "steps, which is itself an approximation of the network. Valid where outputs do not jump with the states; "
        "finite differences on the same paths are compared, and where they contradict there is no number.",
    )
    SPLIT_COUPLING = (
        "biased to second order in the step",
        "central differences of exactly simulated processes in the split coupling, with standard error.",
    )
    SAME_KEYS = (
        "biased to second order in the step, of an approximation",
        "central differences of runs with the same keys, with standard error; of what is simulated, which may be an "
        "approximation (leaps, a hybrid, steps of a path).",
    )
    LIKELIHOOD_RATIO = (
        "unbiased",
        "likelihood ratio: the covariance of the output with the score of exactly simulated trajectories, with "
        "standard error. Valid for outputs that jump, such as indicators; its variance grows with time.",
    )


# Ways to a derivative, by the names that a user asks for them.
DERIVATIVE, PATHWISE, DIFFERENCES, LIKELIHOOD_RATIO = "derivative", "pathwise", "differences", "likelihood ratio"
