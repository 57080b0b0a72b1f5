"""Options that several commands have: which model, how its prompt is read, what is asked, where the results go."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from landed_jax.checkpoints.bundle import BUNDLED
from landed_jax.cli.hosts import is_first
from landed_jax.cli.output import check_json_target, check_target
from landed_jax.errors import LandedError

Decorator = Callable[[Any], Any]

model_option = click.option(
    "--model",
    metavar="M",
    default=BUNDLED,
    help="An HF folder or id, a GGUF file, or a folder made by `landed convert`. Default: the model of this package.",
)
no_bos_option = click.option(
    "--no-bos", is_flag=True, help="Add no special tokens (by default as transformers; never a second BOS)."
)
position_option = click.option(
    "--position", metavar="N", type=int, default=-1, help="The position to read. Default: the last."
)
out_option = click.option(
    "--out", metavar="FILE", help="Write the labelled results (xarray) to a NetCDF file, FILE.nc."
)
json_option = click.option(
    "--json", "json_target", metavar="FILE|-", help="Write JSON to a file, or alone to standard output."
)


def ids_option(argument: str = "PROMPT is") -> Decorator:
    """``--ids``."""
    return click.option("--ids", is_flag=True, help=f"{argument} token ids: 1 5 7, or 1,5,7, or [1, 5, 7].")


def token_options(read: str, default: str, against: str) -> Decorator:
    """``--target`` and ``--against``.

    Args:
        read: what is done with the target, such as "The token to read".
        default: the target where none is given.
        against: what the second token is for.
    """
    target = click.option("--target", metavar="T", help=f"{read}: exact text, or #ID. Default: {default}.")
    other = click.option("--against", metavar="T2", help=against)
    return lambda command: target(other(command))


def top_option(what: str, default: int = 20) -> Decorator:
    """``--top``."""
    return click.option("--top", metavar="K", type=click.IntRange(min=0), default=default, show_default=True, help=what)


def check_targets(json_target: str | None, out: str | None) -> None:
    """Say early where results cannot be written.

    Raises:
        LandedError: as `check_json_target` and `check_result_path` do, and for one file under both names.
    """
    check_json_target(json_target)
    if out is None or not is_first():
        return
    from landed_jax.results.files import check_result_path

    check_result_path(out)
    if json_target is not None and Path(json_target).resolve() == Path(out).resolve():
        raise LandedError("--json and --out name the same file: give each its own.")


def check_page_target(html: str | None, *others: str | None) -> None:
    """Say early where a page cannot be written, or not made.

    Raises:
        LandedError: as `check_target` does, for one file under two names, standard output, and where the extra `page`
            is not installed.
    """
    if html is None:
        return
    if html in ("-", ""):
        raise LandedError("--html writes a file: give its name, such as page.html.")
    from landed_jax.page._packages import require_packages

    check_target("--html", html)
    if any(other is not None and Path(other).resolve() == Path(html).resolve() for other in others):
        raise LandedError(f"--html names the same file as another option, {html}: give each its own.")
    require_packages()


def check_one_reading(**ways: bool) -> None:
    """Refuse two ways to read one prompt.

    Raises:
        LandedError: naming all ways.
    """
    if sum(ways.values()) > 1:
        *names, last = (f"--{name.replace('_', '-')}" for name in ways)
        count = {2: "two", 3: "three"}[len(ways)]
        raise LandedError(f"{', '.join(names)} and {last} are {count} ways to read a prompt: give one of them.")
