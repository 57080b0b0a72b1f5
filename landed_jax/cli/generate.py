"""`landed run --generate`: the tokens that a model goes on with, and what each came from."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from landed_jax.cli.progress import status_line
from landed_jax.cli.prompts import Asked
from landed_jax.errors import LandedError
from landed_jax.printable import printable

if TYPE_CHECKING:  # they import JAX
    from landed_jax.model import Model
    from landed_jax.report.generated import GeneratedAccount
    from landed_jax.report.question import RunQuestion

_TOP = 3  # writes of each token, unless --top says otherwise
# What asks for one token at one position.
_OTHERWISE = ("target", "against", "position", "out")


@dataclass(frozen=True)
class Wanted:
    """How many tokens to generate, how each is taken, and how many writes of each are shown."""

    n: int
    temperature: float
    seed: int
    top: int


def generate_options(command: Callable[..., None]) -> Callable[..., None]:
    """``--generate``, ``--temperature`` and ``--seed``."""
    options = (
        click.option(
            "--generate",
            metavar="N",
            type=int,
            help="Go on by up to N tokens, and account for each of them (--top: writes of each; default 3).",
        ),
        click.option(
            "--temperature", metavar="T", type=float, help="With --generate: draw; 0, the default, takes the likeliest."
        ),
        click.option("--seed", metavar="S", type=int, help="With --generate: of the draws. Default: 0."),
    )
    for option in reversed(options):  # click lists the options of decorators from the last applied to the first
        command = option(command)
    return command


def wanted_of(n: int | None, temperature: float | None, seed: int | None, sections: Sequence[str]) -> Wanted | None:
    """What the options ask for; None without ``--generate``.

    Raises:
        LandedError: for options that do not go together, and numbers that nothing can be generated with.
    """
    context = click.get_current_context()

    def given(name: str) -> bool:
        return context.get_parameter_source(name) is not ParameterSource.DEFAULT

    if n is None:
        for name in filter(given, ("temperature", "seed")):
            raise LandedError(f"--{name} goes with --generate.")
        return None
    if given("seed") and not temperature:
        raise LandedError("--seed is of draws: give --temperature too, or leave it out.")
    for option in [*(f"--{name}" for name in filter(given, _OTHERWISE)), *sections]:
        raise LandedError(f"--generate accounts for each token that it generates: leave {option} out.")
    from landed_jax.generation._limits import check_count, check_draws

    wanted = Wanted(n, temperature or 0.0, seed or 0, context.params["top"] if given("top") else _TOP)
    check_count(wanted.n)
    check_draws(wanted.temperature, wanted.seed)
    return wanted


def generated_accounts(
    model: "Model", prompts: Sequence[Asked], questions: Sequence["RunQuestion"], wanted: Wanted
) -> Iterator["GeneratedAccount"]:
    """What is generated behind each prompt, with its account."""
    from landed_jax.generation._generate import generate
    from landed_jax.tokens import Tokens

    how: dict[str, Any] = {"temperature": wanted.temperature, "seed": wanted.seed}
    for asked, question in zip(prompts, questions, strict=True):
        if asked.target is not None or asked.against is not None:
            with asked.errors_say_where():
                raise LandedError("--generate accounts for each token that it generates: leave target and against out.")
        with asked.errors_say_where(), status_line(f"Generating {wanted.n} tokens") as status:
            prompt = question.prompt
            generation, said = generate(model, Tokens.from_lists([prompt.ids]), wanted.n, written=[prompt.text], **how)
            status("Finding out what each token came from")
            found = generation.account(top=wanted.top)
        for warning in (*question.prompt.warnings, *said):
            where = f"{asked.place}: " if asked.place else ""
            click.echo(f"landed: {printable(where + warning)}", err=True)
        yield found
