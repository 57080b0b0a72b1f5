from ._closure import ClosureError as ClosureError
from ._closure import closure_error as closure_error
from ._land import land as land
from ._landing_matrix import Landing as Landing
from ._landing_matrix import LandingMatrix as LandingMatrix
from ._landing_matrix import Landings as Landings
from ._landing_matrix import landing_matrix as landing_matrix
