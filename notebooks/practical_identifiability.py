# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # What these data can tell, and what to measure next
#
# That equations allow parameters to be known says nothing yet of the data at hand. Three answers: the information to first order, the profile of the likelihood, and the measurement that would help.

# %%
import numpy as np

import uqbench as uq
from studies import boehm, dose_escalation, two_scale_cascade
from uqbench.identifiability import (
    candidate_measurements,
    fisher_information,
    optimal_design,
    prescribe,
    profile_likelihood,
    with_measurements,
)
from uqbench.optimization import find_map
from uqbench.reporting import fit_figures, profile_figures

# %matplotlib inline


def intervals(profile):
    return profile[["value", "lower", "upper", "verdict_lower", "verdict_upper"]].to_dataframe()


# %% [markdown]
# ## The same model, two designs
#
# A fast step before a slow one, twenty measurements each: from .1 h on, and from 2 h on, when the fast step is over. Standard errors of the logarithms, to first order:

# %%
theta = two_scale_cascade.truth
designs = {"from .1 h on": two_scale_cascade.study, "from 2 h on": two_scale_cascade.late}
{name: fisher_information(study, theta).cramer_rao.to_series().round(3).to_dict() for name, study in designs.items()}

# %% [markdown]
# The profile is no approximation: the likelihood is maximised with one parameter held, further and further out. Seen late, kf has a lower limit and no upper one: anything fast is fast enough.

# %%
profiles = {name: profile_likelihood(study, theta) for name, study in designs.items()}
intervals(profiles["from 2 h on"])

# %%
profile_figures.profiles(profiles["from 2 h on"])

# %% [markdown]
# The design finds the early times by itself: of all times that could be added to the late design, these four tell most.

# %%
found = optimal_design(two_scale_cascade.late, theta, number=4)
found[["time", "times_measured"]].where(found.times_measured > 0, drop=True).to_dataframe()

# %% [markdown]
# ## Which dose would show it
#
# Low doses of a drug whose elimination saturates: only the ratio Vmax/Km is in the data. `identify` asks everything at once, and `/practical` has the answers side by side.

# %%
study = dose_escalation.study
tree = uq.identify(study)
tree["practical"].to_dataset()[["structural", "fisher", "profile", "verdict"]].to_dataframe()

# %%
for name, text in tree["practical"].to_dataset().explanation.to_series().items():
    if text:
        print(f"{name}: {text}")

# %% [markdown]
# What to measure: the cheapest of all candidates, here doses that could be given, tried on simulated data.

# %%
candidates = candidate_measurements(study, times=np.arange(1.0, 7.0), inputs={"dose": dose_escalation.doses})
prescription = prescribe(study, dose_escalation.truth, candidates)
prescription[["standard_error_before", "standard_error_tested", "prescription"]].to_dataframe()

# %% [markdown]
# With that one measurement (simulated here) the interval of Km has both ends.

# %%
added = prescription.prescribed_times.sel(parameter="Km").values
whole = with_measurements(study, candidates, added, dose_escalation.truth)
dose = {
    "low doses": profile_likelihood(study, dose_escalation.truth),
    "one high dose more": profile_likelihood(whole, dose_escalation.truth),
}
intervals(dose["one high dose more"])

# %%
profile_figures.profiles(dose["low doses"])

# %%
profile_figures.profiles(dose["one high dose more"])

# %% [markdown]
# ## A published model
#
# Dimers of STAT5 (Boehm et al. 2014; data simulated at the published times). Ten decades are open for each parameter, so many starts end in local optima.

# %%
fit = find_map(boehm.study, starts=12)
print(f"log-likelihood {fit.attrs['log_likelihood']:.2f}, {fit.attrs['verdict']}")
fit_figures.waterfall(fit)

# %% [markdown]
# Seven parameters have an interval. Export of heterodimers has no lower limit, import of homodimers no upper one, as with the published data.

# %%
profile = profile_likelihood(boehm.study, fit)
intervals(profile)

# %%
profile_figures.profiles(profile)

# %%
profile.relation.where(profile.relation != "", drop=True).to_series().to_dict()
