"""What each precision costs in exactness, on one model: ``python -m benchmarks.precision MODEL FILE … --page``.

A FILE is a CSV file with prompts in a column ``prompt`` or ``one_prefix_prefix``, or a text with a paragraph a line.
As many prompts come from each, cut to one length; those that are shorter are left out. Every position is attributed,
and asks for the token that float64 finds likeliest there. The table stands in ``docs/precision.md``; ``--page`` puts
it there.
"""

import argparse
import csv
import dataclasses
import itertools
import sys
from collections.abc import Iterator, Sequence
from operator import methodcaller
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import markdown
from benchmarks.environment import prepare

POLICIES = {
    "float64": ("float32", "float64", None),
    "float32": ("float32", "float32", None),
    "bfloat16": ("bfloat16", "float32", None),
    "float32, weights rounded to bfloat16": ("float32", "float32", "bfloat16"),
    "bfloat16, weights rounded to bfloat16": ("bfloat16", "float32", "bfloat16"),
}
"""The products' precision, the stream's type, and the type that weights are rounded to, or None."""
TOP = 100


class Found(NamedTuple):
    """Of one position: the closure error, in logits, and every write's direct effect."""

    closure_error: float
    effects: np.ndarray


def prompts_in(file: Path) -> Iterator[str]:
    """The prompts of a file, in its order."""
    if file.suffix != ".csv":
        yield from (line.strip() for line in file.read_text("utf-8").splitlines() if line.strip())
        return
    with file.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            yield row["prompt"] if "prompt" in row else row["one_prefix_prefix"]


def ids_of(model: Any, files: Sequence[Path], count: int, length: int) -> list[list[int]]:
    """The first `length` ids of `count` prompts, as many of each file."""
    found = []
    for file in files:
        read = (model.vocabulary.encode(prompt)[:length] for prompt in prompts_in(file))
        kept = list(itertools.islice((ids for ids in read if len(ids) == length), count // len(files)))
        if len(kept) < count // len(files):
            raise SystemExit(f"{file} has {len(kept)} prompts of {length} tokens, and {count // len(files)} are asked.")
        found += kept
    return found


def measured(model: Any, ids: Sequence[Sequence[int]], targets: Sequence[Any], dtype: str) -> list[Found]:
    """Every position of every prompt; `targets` are taken where there are some, and else filled with the likeliest."""
    import jax.numpy as jnp

    import landed_jax as landed

    found = []
    for number, prompt in enumerate(ids):
        trace = model.trace(jnp.asarray([prompt], jnp.int32), dtype=dtype)
        if number == len(targets):
            targets.append(jnp.argmax(trace.logits, axis=-1))  # pyright: ignore[reportAttributeAccessIssue]
        shares = landed.attribute(trace, targets[number])
        effect, errors = shares.direct_effect, np.asarray(shares.closure_error[0])
        assert effect is not None  # asked for by default
        flat = np.concatenate(
            [
                np.asarray(effect.embedding)[0, :, None],
                *np.asarray(effect.heads)[:, 0],
                *np.asarray(effect.neurons)[:, 0],
            ],
            axis=-1,
        )
        found += [Found(float(error), row) for error, row in zip(errors, flat, strict=True)]
    return found


def agreement(one: np.ndarray, other: np.ndarray, top: int = TOP) -> tuple[float, float]:
    """Of the `top` largest writes by size: the part that both have, and Spearman's correlation over all of either.

    >>> agreement(np.array([3.0, -2.0, 1.0, 0.0]), np.array([-3.0, 1.0, 2.0, 0.0]), top=2)
    (0.5, 0.5)
    """
    sizes = np.abs(one), np.abs(other)
    first, second = (set(np.argsort(-size, kind="stable")[:top].tolist()) for size in sizes)
    either = sorted(first | second)
    ranks = [np.argsort(np.argsort(size[either], kind="stable")) for size in sizes]
    return len(first & second) / top, round(float(np.asarray(np.corrcoef(np.stack(ranks)))[0, 1]), 12)


def rows_of(found: dict[str, list[Found]]) -> list[list[str]]:
    """A row for each policy."""
    exact, single = found["float64"], found["float32"]
    rows = []
    for name, positions in found.items():
        errors = np.array([one.closure_error for one in positions])
        far = [
            np.max(np.abs(one.effects - true.effects)) / np.max(np.abs(true.effects))
            for one, true in zip(positions, exact, strict=True)
        ]
        same = [agreement(one.effects, other.effects) for one, other in zip(positions, single, strict=True)]
        shared, ranks = zip(*same, strict=True)
        row = [name, *(f"{value:.1e}" for value in (np.median(errors), np.max(errors)))]
        row += ["", ""] if name == "float64" else [f"{value:.1e}" for value in (np.median(far), np.max(far))]
        row += ["", ""] if name == "float32" else [f"{np.median(shared):.0%}, {min(shared):.0%}"]
        row += [] if name == "float32" else [f"{np.median(ranks):.4f}, {min(ranks):.4f}"]
        rows.append(row)
    return rows


NAMES = (
    *("policy", "closure error: median", "largest", "error of a direct effect: median", "largest"),
    *("top 100 shared with float32: median, least", "Spearman: median, least"),
)


def main(arguments: Sequence[str]) -> int:
    """Print the table, or put it into the page."""
    prepare()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--length", type=int, default=16, help="tokens of each")
    parser.add_argument("--page", action="store_true", help="Put the table into docs/precision.md.")
    options = parser.parse_args(arguments)
    import jax

    jax.config.update("jax_enable_x64", True)
    import landed_jax as landed

    model = landed.load(options.model)
    ids, targets = ids_of(model, options.files, options.prompts, options.length), []
    found: dict[str, list[Found]] = {}
    for name, (precision, dtype, weights) in POLICIES.items():
        print(name, file=sys.stderr)
        rounded = model
        if weights is not None:
            cast = methodcaller("astype", weights)
            rounded = dataclasses.replace(model, params=jax.tree.map(cast, model.params))
        if precision == "bfloat16":
            rounded = rounded.with_precision(precision)
        found[name] = measured(rounded, ids, targets, dtype)
    device = jax.devices()[0]
    files = ", ".join(file.name for file in options.files)
    said = (
        f"{Path(options.model).name}, {model.config.n_layers} layers: {len(ids)} prompts ({files}), "
        f"{len(found['float32'])} positions, {len(found['float32'][0].effects):,} writes at each; {device.platform}."
    )
    made = f"{said}\n\n{markdown.markdown(NAMES, rows_of(found))}\n"
    if options.page:
        markdown.put("precision.md", made)
    else:
        sys.stdout.write(made)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
