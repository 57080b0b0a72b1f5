"""The packages of the extra `page`: what makes the charts, and the script that draws them in a browser."""

import functools
import importlib
from importlib.util import find_spec
from typing import Any

from landed_jax.errors import LandedError

_MISSING = "A page needs the packages altair and vl-convert-python: pip install 'landed-jax[page]'."
# Embed interprets the charts' expressions where it is told to, so that the page runs no text as code.
_SCRIPT = "window.vegaEmbed = vegaEmbed;"


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise LandedError(_MISSING) from error


def require_packages() -> None:
    """Say that packages are missing before a long computation; they are not imported.

    Raises:
        LandedError: where one is not installed.
    """
    if any(find_spec(name) is None for name in ("altair", "vl_convert")):
        raise LandedError(_MISSING)


def altair() -> Any:
    """The package that writes charts as Vega-Lite.

    Raises:
        LandedError: where it is not installed.
    """
    return _package("altair")


@functools.cache
def drawing_script() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script, of the version that altair writes for.

    Raises:
        LandedError: where a package is not installed.
    """
    version = "v" + ".".join(altair().VEGALITE_VERSION.split(".")[:2])
    return _package("vl_convert").javascript_bundle(_SCRIPT, version)
