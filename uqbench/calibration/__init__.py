"""Calibration: what the data say about the parameters (the verb `calibrate`), and what follows (`predict`)."""

from ..likelihoods import log_likelihood as log_likelihood
from ..optimization import find_map as find_map
from .calibrate import calibrate as calibrate
from .calibrate import check_settings as check_settings
from .comparison import compare_models as compare_models
from .predict import predict as predict
from .predict import predict_text as predict_text
from .simulation_based import sbc as sbc
from .simulation_based import simulation_based_calibration as simulation_based_calibration
