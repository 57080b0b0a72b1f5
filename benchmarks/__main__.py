"""``python -m benchmarks``: the environment first, then everything that imports JAX and torch."""

import sys

from benchmarks.environment import prepare


def main() -> int:
    prepare()
    from benchmarks.command import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
