"""What to measure next: candidates, what each would tell, optimal designs, and prescriptions that are tried."""

from .candidates import Candidates as Candidates
from .candidates import candidate_measurements as candidate_measurements
from .information_gain import expected_information_gain as expected_information_gain
from .optimal import optimal_design as optimal_design
from .optimal import predicted_drops as predicted_drops
from .prescription import Check as Check
from .prescription import prescribe as prescribe
from .prescription import with_measurements as with_measurements
