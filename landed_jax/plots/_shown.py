"""Figures that a notebook shows: IPython knows Matplotlib's own once pyplot is imported, which these do not need."""

import io

from matplotlib.figure import Figure

_DPI = 110


class ShownFigure(Figure):
    """An ordinary figure of Matplotlib."""

    def _repr_png_(self) -> bytes:
        """What IPython asks for."""
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=_DPI)
        return file.getvalue()
