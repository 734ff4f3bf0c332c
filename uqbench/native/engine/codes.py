"""Why a solve ended, as the engine says it: plain numbers, which are constants to the compiler."""

from ...errors import Result

SUCCESS = int(Result.SUCCESS)
STEP_LIMIT = int(Result.STEP_LIMIT)
BLOW_UP = int(Result.BLOW_UP)
BAD_START = int(Result.BAD_START)
NOT_DIFFERENTIABLE = int(Result.NOT_DIFFERENTIABLE)
ENDLESS_EVENTS = int(Result.ENDLESS_EVENTS)
NO_STEP = int(Result.NO_STEP)
BAD_DELAY = int(Result.BAD_DELAY)
UNRESOLVED = int(Result.UNRESOLVED)
UNDETERMINED = int(Result.UNDETERMINED)
UNSTABLE_BRANCH = int(Result.UNSTABLE_BRANCH)
