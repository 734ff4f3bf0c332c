"""Calibration: what the data say about the parameters (the verb `calibrate`)."""

from ..observation import log_likelihood as log_likelihood
from .comparison import compare_models as compare_models
from .sampling import calibrate as calibrate
from .sampling import check_settings as check_settings
from .simulation_based import simulation_based_calibration as simulation_based_calibration
