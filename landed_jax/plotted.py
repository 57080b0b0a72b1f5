"""What draws itself: `plot`, and what a notebook shows."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # slow to import, and only these methods need them
    from matplotlib.figure import Figure, SubFigure


class Plotted:
    """A base of every class that has a figure: see `landed_jax.plots`."""

    def plot(self, **options: Any) -> "Figure | SubFigure":
        """The result as a figure of Matplotlib; see `landed_jax.plots.plot` for the options that all figures have.

        Raises:
            LandedError: without Matplotlib, and for an option that this kind of figure does not have.
        """
        from landed_jax.plots._figure import plot

        return plot(self, **options)

    def _repr_html_(self) -> str | None:
        """What a notebook shows: a small figure, where Matplotlib is installed, and a table; None where neither can be
        made, so that it shows the repr.
        """
        from landed_jax.plots._notebook import html_of_result

        return html_of_result(self)
