"""``python -m tests.fuzz --seconds 300 --seed 0``: the counts, and every fault with the number that repeats it."""

import argparse
import json
import sys

from tests.fuzz.watch import fuzz


def main() -> int:
    """0 if every mutation was refused or accepted rightly, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, help="for so long")
    parser.add_argument("--count", type=int, help="so many")
    parser.add_argument("--first", type=int, default=0, help="from this number on: with --count 1 this one alone")
    parser.add_argument("--seed", default="0")
    options = parser.parse_args()
    if options.seconds is None and options.count is None:
        parser.error("give --seconds or --count")
    found = fuzz(options.seed, count=options.count, seconds=options.seconds, first=options.first)
    for fault in found.faults:
        trace = fault.pop("trace", "")
        print(json.dumps(fault), trace, sep="\n")
    print(f"seed {options.seed}\n{found.table()}")
    print(f"slowest {found.seconds:.1f} s: {found.slowest}; largest growth {found.growth / 2**20:.0f} MiB")
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main())
