from .questions import Head as Head
from .questions import Logit as Logit
from .questions import Neuron as Neuron
from .questions import Question as Question
from .questions import Vector as Vector
from .questions import resolve as resolve
from .read import Read as Read
