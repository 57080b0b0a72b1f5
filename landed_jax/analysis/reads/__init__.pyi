from ._questions import Head as Head
from ._questions import Logit as Logit
from ._questions import Neuron as Neuron
from ._questions import Question as Question
from ._questions import Vector as Vector
from ._questions import resolve as resolve
from ._read import Read as Read
