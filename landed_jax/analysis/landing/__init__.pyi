from .closure import ClosureError as ClosureError
from .closure import closure_error as closure_error
from .land import land as land
from .landing_matrix import Landing as Landing
from .landing_matrix import LandingMatrix as LandingMatrix
from .landing_matrix import Landings as Landings
from .landing_matrix import landing_matrix as landing_matrix
