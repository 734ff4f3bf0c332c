"""Calibration: what the data say about the parameters (the verb `calibrate`)."""

from ..observation import log_likelihood as log_likelihood
from .sampling import calibrate as calibrate
from .sampling import check_settings as check_settings
