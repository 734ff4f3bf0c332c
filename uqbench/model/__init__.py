"""The forward model: parameters in, outputs over time out."""

from ..systems import Run as Run
from ..systems.protocol import names_used as names_used
from .copies import copies_findings as copies_findings
from .copies import with_copies as with_copies
from .description import GRADIENTS as GRADIENTS
from .description import Model as Model
from .digest import content as content
from .digest import digest as digest
from .findings import output_findings as output_findings
from .measurements import as_measured as as_measured
from .measurements import noise_values_of as noise_values_of
from .running import evaluate as evaluate
from .running import evaluate_many as evaluate_many
from .running import method_for as method_for
from .running import over_cores as over_cores
from .running import over_time as over_time
from .running import simulate as simulate
from .running import simulate_stacked as simulate_stacked
from .running import with_sensitivities as with_sensitivities
from .schedules import schedule_findings as schedule_findings
from .schedules import with_equal_schedules as with_equal_schedules
from .sources import evaluate_by_source as evaluate_by_source
