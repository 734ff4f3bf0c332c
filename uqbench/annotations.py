"""What users pass, as annotations: numbers may be floats of Python, scalars of numpy, or arrays.

Inside the library values travel as arrays, since a float of Python in a compiled function is traced anew for every
value; what stands at the door takes either, and says so with these.
"""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import PyTree

# One number or many: float, int, a scalar of numpy, an array of numpy or JAX, also one that is being traced.
Numbers = ArrayLike
# Numbers by name: parameters, states, inputs.
Values = Mapping[str, Numbers]
# Numbers by name, rows of them as lists too: inputs of a design, parameters of many runs.
ValuesOrLists = Mapping[str, Numbers | Sequence]
# Numbers by name, or only their shapes, for what is traced and not computed.
ValuesOrShapes = Mapping[str, Numbers | jax.ShapeDtypeStruct]
# What the functions of a system read as its parameters: values, with more of them inside where one system is made of
# another and its solution.
Parameters = PyTree[Numbers]
# An array of either kind, for annotations of shapes: `Float[AnyArray, "times"]`.
AnyArray = Array | np.ndarray
