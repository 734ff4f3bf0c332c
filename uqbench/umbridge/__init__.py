"""Foreign codes as models, and our models for foreign codes, over the protocol of UM-Bridge."""

from .function import ForeignFunction as ForeignFunction
from .function import foreign_function as foreign_function
from .model import design_config as design_config
from .model import foreign_model as foreign_model
from .protocol import Failure as Failure
from .protocol import recent_failures as recent_failures
from .server import serve as serve
