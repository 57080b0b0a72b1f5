from ._projections import weight_norms as weight_norms
from ._write import Write as Write
from ._write import write_vector as write_vector
