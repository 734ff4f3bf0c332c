"""Models made of parts that exchange what is conserved: parts, schedules, their balance and their stability."""

from .acceleration import Aitken as Aitken
from .acceleration import Anderson as Anderson
from .acceleration import QuasiNewton as QuasiNewton
from .acceleration import Relaxation as Relaxation
from .acceleration import fixed_point as fixed_point
from .balance import SpuriousFlux as SpuriousFlux
from .balance import spurious_flux as spurious_flux
from .coupled import Coupled as Coupled
from .linearisation import Prediction as Prediction
from .linearisation import best_relaxation as best_relaxation
from .parts import Exchange as Exchange
from .parts import Part as Part
from .parts import Permeation as Permeation
from .schedules import Monolithic as Monolithic
from .schedules import Schedule as Schedule
from .schedules import Splitting as Splitting
from .schedules import Strong as Strong
from .schedules import WaveformRelaxation as WaveformRelaxation
from .schedules import Weak as Weak
from .stability import Advice as Advice
from .stability import stability as stability
