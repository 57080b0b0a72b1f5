"""The group of all commands. Exit status 0 on success, 2 with one sentence on stderr on bad usage or bad input."""

import io
import os
import sys
import traceback

import click

from landed_jax.cli.ablate import ablate
from landed_jax.cli.cache import use_cache
from landed_jax.cli.compare import compare
from landed_jax.cli.convert import convert
from landed_jax.cli.heads import heads
from landed_jax.cli.hosts import is_alone, leave
from landed_jax.cli.info import info
from landed_jax.cli.models import models
from landed_jax.cli.patch import patch
from landed_jax.cli.plan import plan
from landed_jax.cli.reading import warnings_as_lines
from landed_jax.cli.report import report
from landed_jax.cli.reproduce import reproduce
from landed_jax.cli.rerun import rerun
from landed_jax.cli.run import run
from landed_jax.cli.streams import forgiving_stderr, give_up_stdout
from landed_jax.cli.study import merge, study
from landed_jax.cli.testbed import testbed
from landed_jax.cli.verify import verify
from landed_jax.errors import LandedError, cut
from landed_jax.memory.shortage import is_out_of_memory, out_of_memory
from landed_jax.printable import printable

_LONGEST = 6000  # characters of a message: click quotes an option's value whole


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="landed-jax", prog_name="landed")
@click.option("--no-cache", is_flag=True, help="Keep no compiled programs between runs, and use none.")
def commands(no_cache: bool) -> None:
    """Landed writes: which heads and neurons pointed a language model at a token, exactly.

    Compiled programs are kept in the user's cache folder, or in the folder that LANDED_CACHE_DIR names.
    """
    if no_cache:
        os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "0"
    else:
        use_cache(os.environ)


for command in (
    run,
    report,
    ablate,
    patch,
    compare,
    heads,
    reproduce,
    study,
    merge,
    rerun,
    models,
    info,
    plan,
    convert,
    verify,
    testbed,
):
    commands.add_command(command)


def status_of(arguments: list[str] | None) -> int:
    """Run the command line and give its exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that cannot encode σ shows a replacement
    with forgiving_stderr():
        try:
            status = _run(arguments)
        except BaseException:
            if not is_alone():
                traceback.print_exc()
                leave(1)
            raise
        leave(status)
        return status


def _run(arguments: list[str] | None) -> int:
    try:
        with warnings_as_lines():
            result = commands.main(arguments, prog_name="landed", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        return _complain(error.format_message())
    except LandedError as error:
        return _complain(str(error))
    except (BrokenPipeError, SystemExit):  # click and Rich exit where the reader has closed the pipe (`| head`)
        give_up_stdout()
        return 0
    except OSError as error:
        return _complain(f"{error.filename or 'Standard output'} cannot be used: {error.strerror or error}.")
    except Exception as error:  # a lack of memory has many types; what is none is raised again
        if not is_out_of_memory(error):
            raise
        return _complain(out_of_memory(error))
    except (KeyboardInterrupt, click.Abort):
        click.echo("landed: interrupted", err=True)
        return 130


def _complain(message: str) -> int:
    click.echo(f"landed: {cut(printable(message), _LONGEST)}", err=True)
    return 2
