"""How a checkpoint was read where that is not simply what its files say."""

import warnings

from landed_jax.errors import LandedWarning
from landed_jax.printable import printable


class Notes:
    """Collects what results record about how their model was read, and what its user is to be warned of.

    >>> notes = Notes()
    >>> notes.add("the adapter ./lora was merged")
    >>> notes.texts
    ['the adapter ./lora was merged']
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._due: list[str] = []

    def add(self, text: str) -> None:
        """Record what the user asked for."""
        if (text := printable(text)) not in self.texts:
            self.texts.append(text)

    def warn(self, text: str) -> None:
        """Record what the user did not ask for."""
        self.add(text)
        self._due.append(printable(text))

    def give_warnings(self, stacklevel: int = 2) -> None:
        """A `LandedWarning` for each thing that the user did not ask for. Called once the model can be opened."""
        for text in dict.fromkeys(self._due):
            warnings.warn(text, LandedWarning, stacklevel=stacklevel + 1)
        self._due.clear()
