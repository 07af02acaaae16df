"""The command line of the suites, and printed tables."""

import argparse

from . import measuring, results


def parser_of(name, description):
    """Return a parser for ``python -m benchmarks NAME``, with the option ``--quick``."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks {name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quick", action="store_true", help="tiny cases; writes to the temporary folder"
    )
    return parser


def start(name, description, arguments, **options):
    """Read the command line, print machine and limits, and return the options.

    Parameters
    ----------
    name : str
        Name of the suite.
    description : str
        Shown by ``--help``: the module's docstring.
    arguments : list of str
    **options : dict
        Options of one suite: ``large={"action": "store_true", "help": "..."}`` becomes ``--large``.
    """
    parser = parser_of(name, description)
    parser.add_argument(
        "--peers",
        default="",
        metavar="A,B",
        help="only peers with one of these in module or class, e.g. dagbp,TorchDense",
    )
    for option, settings in options.items():
        parser.add_argument(f"--{option.replace('_', '-')}", **settings)
    read = parser.parse_args(arguments)
    read.peers = [part for part in read.peers.lower().split(",") if part]
    print(*(f"{key}: {value}" for key, value in results.machine().items()), sep="\n")
    limits = measuring.limits()
    print(f"limits: sgemm {limits['sgemm_gflops']:.0f} GF/s, copy {limits['copy_gbs']:.1f} GB/s")
    return read


def title(text):
    """Print a heading."""
    print(f"\n{text}\n{'-' * len(text)}")


def table(header, rows):
    """Print rows of texts in columns.

    Figures stand to the right. The first column and columns without a header stand to the left.
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    to_left = [k == 0 or not text for k, text in enumerate(header)]
    for row in (header, *rows):
        cells = zip(row, widths, to_left, strict=True)
        padded = [text.ljust(width) if left else text.rjust(width) for text, width, left in cells]
        print("  ".join(padded).rstrip())
