"""The figures of the benchmarks that pages quote, read from the results."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # the folder of the package `benchmarks`

from benchmarks.harness import headline


def substitutions():
    """Return the text of each ``{{ name }}`` on a page."""
    return headline.substitutions()
