from ._method import Method as Method
from ._registry import methods as methods
from ._scores import Scores as Scores
