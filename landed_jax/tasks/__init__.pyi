from ._kept import Kept as Kept
from ._kept import kept as kept
from ._pairs import Pairs as Pairs
from ._pairs import pairs_of as pairs_of
from ._prompt import Answers as Answers
from ._prompt import Prompt as Prompt
from ._prompt import Task as Task
from ._registry import tasks as tasks
