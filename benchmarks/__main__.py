"""Run a suite, or write the report: ``python -m benchmarks layers``."""

import sys
from importlib import import_module

from benchmarks.harness import environment
from benchmarks.suites import SUITES

USAGE = "usage: python -m benchmarks NAME [options]; NAME --help lists the options\n"
REPORT = {"report": "write the report and the figures of the README from the results"}


def main():
    """Set the environment, then run the command."""
    commands = {**SUITES, **REPORT}
    name, *arguments = sys.argv[1:] or ["--help"]
    if name not in commands:
        print(USAGE, *(f"  {key:12} {text}" for key, text in commands.items()), sep="\n")
        raise SystemExit(name not in ("-h", "--help"))
    environment.enter()
    place = "harness" if name in REPORT else "suites"
    import_module(f"benchmarks.{place}.{name}").main(arguments)


if __name__ == "__main__":
    main()
