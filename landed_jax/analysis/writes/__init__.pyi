from .projections import output_norms as output_norms
from .write import Write as Write
from .write import write_vector as write_vector
