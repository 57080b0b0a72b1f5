"""`python -m conversion NAME DST`: convert a well-known model, after comparing it with what is known of it."""

import argparse
import sys

from conversion.recipes import recipes, run
from landed_jax.cli.progress import status_line
from landed_jax.cli.verify import verify
from landed_jax.errors import LandedError


def main(arguments: list[str] | None = None) -> int:
    """Convert, and verify where that is asked for; the exit status."""
    known = recipes()
    parser = argparse.ArgumentParser(prog="python -m conversion", description=__doc__)
    parser.add_argument("name", nargs="?", choices=known, metavar="NAME", help="a recipe; without one they are listed")
    parser.add_argument("dst", nargs="?", metavar="DST", help="a new folder")
    parser.add_argument("--source", metavar="SRC", help="a folder that has the checkpoint, in place of its id")
    parser.add_argument("--hf", action="store_true", help="write Hugging Face layout in place of a native folder")
    parser.add_argument(
        "--verify", action="store_true", help="then compare with transformers; needs --source and torch"
    )
    asked = parser.parse_args(arguments)
    if asked.name is None:
        widest = max(len(recipe.source) for recipe in known.values())
        for name, recipe in known.items():
            print(f"{name:18} {recipe.source:{widest}} {recipe.parameters / 1e9:6.2f}e9 parameters")
        return 0
    if asked.dst is None:
        parser.error("name a new folder, DST")
    if asked.verify and asked.source is None:
        parser.error("--verify compares with a folder: give --source")
    recipe = known[asked.name]
    try:
        with status_line("Converting") as status:
            run(recipe, asked.source or recipe.source, asked.dst, asked.hf, status.report)
        print(f"Wrote {asked.dst}")
        if asked.verify:
            return verify.main([asked.dst, "--against", asked.source], standalone_mode=False)
    except LandedError as error:
        print(f"landed: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
