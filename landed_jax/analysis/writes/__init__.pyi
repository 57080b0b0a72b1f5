from ._projections import output_norms as output_norms
from ._write import Write as Write
from ._write import write_vector as write_vector
