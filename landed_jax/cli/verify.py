"""`landed verify`: parity with transformers."""

import click

from landed_jax.cli.progress import status_line
from landed_jax.cli.reading import ignore_field_option
from landed_jax.errors import LandedError
from landed_jax.files.kinds import is_folder

EXAMPLES = """\b
Examples:
  landed verify ./llama-native --against ./llama-hf
  landed verify ./llama-hf --against ./llama-hf --length 128
"""


@click.command(epilog=EXAMPLES)
@click.argument("model")
@click.option("--against", "hf_folder", metavar="HF_FOLDER", required=True, help="The checkpoint to compare with.")
@click.option("--length", type=click.IntRange(min=1), default=32, show_default=True, help="Tokens a prompt.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the random token ids.")
@ignore_field_option
def verify(model: str, hf_folder: str, length: int, seed: int, ignore_fields: tuple[str, ...]) -> int:
    """Compare MODEL with what transformers computes from HF_FOLDER, in float64, module by module.

    Two prompts of random tokens run on the CPU, one of them half as long and padded on the left. Prints the largest
    logit difference at each position and the first module that differs; exits with 1 if one does. Says too how far the
    logits of a float32 run are off. Needs torch.
    """
    from pathlib import Path

    if not is_folder(Path(hf_folder)):
        raise LandedError(f"--against {hf_folder} is not a folder.")

    import jax
    import numpy as np

    from landed_jax.loading import load
    from landed_jax.memory.host import cpu_device
    from landed_jax.parity.ladder import LADDER_SITES, TOLERANCE, climb, rounding_of
    from landed_jax.parity.reference import check_same_model, reference_rungs, torch_module
    from landed_jax.report.console import print_report
    from landed_jax.report.ladder_table import ladder_table
    from landed_jax.tokens import Tokens

    torch_module()
    cpu = cpu_device()
    with status_line("Reading weights") as status, jax.default_device(cpu):
        opened = load(model, progress=status.report, ignore_fields=ignore_fields)
        check_same_model(opened.config, Path(hf_folder), ignore_fields)
        random = np.random.default_rng(seed)
        vocab = opened.config.vocab_size
        prompts = [random.integers(0, vocab, n).tolist() for n in (length, max(length // 2, 1))]
        tokens = Tokens.from_lists(prompts)
        status(f"Compiling {opened.config.n_layers} layers in float32")
        single = np.asarray(opened.trace(tokens, record=(), dtype="float32").logits)
        status(f"Compiling {opened.config.n_layers} layers in float64")
        with jax.enable_x64(True):
            trace = opened.trace(tokens, record=LADDER_SITES, dtype="float64")
        status("Running the reference")
        ids, mask = np.asarray(tokens.ids), np.asarray(tokens.mask)
        reference = reference_rungs(Path(hf_folder), opened.config, ids, mask)
        status("Comparing")
        ladder = climb(trace, reference)
    print_report(ladder_table(ladder))
    failing = ladder.first_failing
    if failing is None:
        click.echo(
            f"Equal at every rung in float64: largest difference {ladder.worst.relative:.1e} of the rung's largest "
            f"value ({ladder.worst.name}); {TOLERANCE:.0e} passes."
        )
        rounding = rounding_of(single, reference["logits"], np.asarray(tokens.mask))
        if not np.isfinite(rounding):
            click.echo("In float32, though, the logits are not finite.")
            return 1
        click.echo(f"In float32 the logits are off by {rounding:.1e} of the largest.")
        return 0
    click.echo(
        f"The first rung that differs is {failing.name}: by {failing.difference:.3g}, "
        f"{failing.relative:.1e} of its largest value, where {TOLERANCE:.0e} passes."
    )
    return 1
