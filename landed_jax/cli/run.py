"""`landed run`: the account of a prompt, or of each prompt of a file."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landed_jax.cli.generate import generate_options, generated_accounts, wanted_of
from landed_jax.cli.hosts import is_first, several_hosts
from landed_jax.cli.options import (
    check_one_reading,
    check_page_target,
    check_targets,
    ids_option,
    json_option,
    model_option,
    no_bos_option,
    out_option,
    position_option,
    token_options,
    top_option,
)
from landed_jax.cli.output import encoding_of, write_text
from landed_jax.cli.progress import status_line
from landed_jax.cli.prompts import Asked, several, single
from landed_jax.cli.reading import (
    adapter_option,
    dtype_option,
    ignore_field_option,
    mesh_option,
    precision_option,
    stream_option,
)
from landed_jax.errors import LandedError
from landed_jax.printable import printable
from landed_jax.report.sections import sections

# Prompts that share a pass where weights are streamed, and tokens with padding: what is found out of all is in memory.
_SHARING, _TOKENS = 16, 4096
_OF_PAGE = ("by_source", "detail")  # sections without which a page would lack charts


def _share(group: list[tuple[Asked, "RunQuestion"]], question: "RunQuestion") -> bool:
    """Whether there is room for another prompt in a group."""
    count = len(group) + 1
    longest = max(len(each.prompt.ids) for each in (question, *(one for _, one in group)))
    return count <= _SHARING and count * longest <= _TOKENS


if TYPE_CHECKING:  # imports JAX
    from landed_jax.report.question import RunQuestion
    from landed_jax.report.sections.section import Section

EXAMPLES = """\b
Examples:
  landed run "The Colosseum is in the city of"
  landed run "The keys near the bottle" --target " are" --against " is" --by-source --lens
  landed run "The Colosseum is in the city of" --effects --coordinates --out rome.nc
  landed run "Tom and Ann went home. Tom gave it to" --model MODEL --json - | jq .closure_error
  landed run "The capital of France is" --model SmolLM2-135M-Instruct.Q4_1.gguf
  landed run "What is the capital of Italy?" --model MODEL --chat --generate 20
  landed run "The Colosseum is in the city of" --html rome.html
  landed run --prompts prompts.txt --target " Rome" --json accounts.jsonl
"""


def _section_options(command: Callable[..., None]) -> Callable[..., None]:
    """A switch for each section, under its name."""
    for section in reversed(sections()):  # click lists the options of decorators from the last applied to the first
        command = click.option(section.option, section.name, is_flag=True, help=section.help)(command)
    return command


@click.command(epilog=EXAMPLES)
@click.argument("prompt", required=False)
@model_option
@no_bos_option
@click.option("--chat", is_flag=True, help="PROMPT is the user's message in the tokenizer's chat template.")
@ids_option()
@click.option("--prompts", "prompt_file", metavar="FILE|-", help="A prompt a line, or JSON lines; see above.")
@token_options("The token to account for", "the likeliest", "Account for the logit difference target − T2 instead.")
@position_option
@top_option("How many writes.")
@generate_options
@_section_options
@adapter_option
@dtype_option
@precision_option
@ignore_field_option
@mesh_option
@stream_option
@out_option
@json_option
@click.option("--html", "html_target", metavar="FILE", help="Write one HTML page, which opens without a network.")
@several_hosts
def run(
    prompt: str | None,
    model: str,
    no_bos: bool,
    chat: bool,
    ids: bool,
    prompt_file: str | None,
    target: str | None,
    against: str | None,
    position: int,
    top: int,
    generate: int | None,
    temperature: float | None,
    seed: int | None,
    adapter: str | None,
    dtype: str | None,
    precision: str | None,
    ignore_fields: tuple[str, ...],
    mesh: str | None,
    stream: bool,
    out: str | None,
    json_target: str | None,
    html_target: str | None,
    **chosen: bool,
) -> None:
    """Account for one logit: how much of it each head and neuron wrote, as the model hears it.

    PROMPT is read from standard input where it is -, or not given and something is piped in.

    A file of --prompts holds one a line; or JSON lines: strings, or objects with "prompt" and, where they differ from
    the options, "target" and "against". With --json each account is one line of JSON; a page of --html has a chooser.
    """
    check_targets(json_target, out)
    check_page_target(html_target, json_target, out, prompt_file)
    check_one_reading(no_bos=no_bos, chat=chat, ids=ids)
    if prompt_file is None:
        prompts = [single(prompt, ids=ids)]
    elif prompt is not None:
        raise LandedError("Give a prompt or --prompts, not both.")
    elif json_target not in (None, "-") and Path(json_target).resolve() == Path(prompt_file).resolve():
        raise LandedError("--json and --prompts name the same file: give each its own.")
    else:
        prompts = several(prompt_file, ids=ids)
    if out is not None and prompt_file is not None:
        raise LandedError("--out holds the results of one prompt: with --prompts give --json, or run each by itself.")

    shown = [section for section in sections() if chosen[section.name]]
    wanted = [section for section in sections() if section in shown or (html_target and section.name in _OF_PAGE)]
    with status_line("Starting JAX") as status:
        from landed_jax.files.json_text import json_text
        from landed_jax.loading import load
        from landed_jax.mesh import mesh_of
        from landed_jax.report.account import Account, answer_together, together
        from landed_jax.report.console import print_heading, print_report
        from landed_jax.report.generated import GeneratedAccount, generated_report
        from landed_jax.report.question import RunQuestion, ask
        from landed_jax.report.run_report import whole_report

        generation = wanted_of(generate, temperature, seed, [section.option for section in shown])
        status("Reading weights")
        devices = None if mesh is None else mesh_of(mesh)
        how: dict[str, Any] = {"adapter": adapter, "dtype": dtype, "ignore_fields": ignore_fields}
        how |= {"precision": precision, "stream": stream}
        opened = load(model, mesh=devices, progress=status.report, **how)

    def question(asked: Asked) -> RunQuestion:
        tokens = (target if asked.target is None else asked.target, against if asked.against is None else asked.against)
        how = {"position": position, "add_special_tokens": not no_bos, "chat": chat}
        with asked.errors_say_where():
            return ask(opened, asked.prompt, target=tokens[0], against=tokens[1], **how)

    def accounts(group: list[tuple[Asked, RunQuestion]]) -> Iterator[Account]:
        # Programs are compiled for a few lengths only, and kept: the next prompt of about this length finds them.
        try:
            with group[0][0].errors_say_where(), status_line("Starting the model") as status:
                about = [question for _, question in group]
                found = answer_together(opened, about, sections=wanted, bucketed=True, top=top, stage=status)
        except LandedError:
            if len(group) == 1:
                raise
            for pair in group:  # one by one: those before the one that fails have their accounts, and it is named
                yield from accounts([pair])
            return
        for (asked, _), account in zip(group, found, strict=True):
            for warning in account.warnings:
                where = f"{asked.place}: " if asked.place else ""
                click.echo(f"landed: {printable(where + warning)}", err=True)
            yield account

    questions = [question(asked) for asked in prompts]  # all are checked before the first is computed
    groups: list[list[tuple[Asked, RunQuestion]]] = []
    for pair in zip(prompts, questions, strict=True):
        share = stream and groups and _share(groups[-1], pair[1]) and together(groups[-1][0][1], pair[1])
        groups[-1:] = [[*groups[-1], pair]] if share else [*groups[-1:], [pair]]
    lines: list[str] = []
    documents: list[dict[str, Any]] = []
    each: Iterator[Account | GeneratedAccount] = itertools.chain.from_iterable(map(accounts, groups))
    if generation is not None:
        each = generated_accounts(opened, prompts, questions, generation)
    for number, (asked, found) in enumerate(zip(prompts, each, strict=True), 1):
        if out is not None and is_first() and isinstance(found, Account):
            found.save(out)
        document = found.to_dict() if json_target is not None or html_target is not None else {}
        documents += [document] if html_target is not None else []
        if json_target is not None:
            with asked.errors_say_where():
                indent = 2 if prompt_file is None else None
                lines.append(json_text(document, encoding_of(json_target), indent=indent))
            if json_target == "-" or number == len(prompts):
                write_text("".join(lines), json_target)
                lines.clear()
        if html_target is not None and number == len(prompts):
            from landed_jax.page import page

            write_text(page(documents), html_target)
        if json_target != "-":
            if number > 1:
                click.echo()
            if prompt_file is not None:
                print_heading(f"{number} of {len(prompts)}: {asked.place}")
            if isinstance(found, Account):
                print_report(whole_report(dataclasses.replace(found, sections=_only(found.sections, shown))))
            else:
                print_report(generated_report(found))


def _only(found: "dict[Section, Any]", shown: "Sequence[Section]") -> "dict[Section, Any]":
    """The sections that were asked for: a page has more, and the terminal does not show them."""
    return {section: results for section, results in found.items() if section in shown}
