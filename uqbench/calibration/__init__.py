"""Calibration: what the data say about the parameters."""

import importlib

_ROOM_OF = {"calibrate": "sampling", "log_likelihood": "..observation", "pymc_model": "pymc_model"}
