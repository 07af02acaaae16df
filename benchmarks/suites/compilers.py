"""Compares the two compilers of `dagbp/_compiler`, and the fast one without each of its parts.

    python -m benchmarks compilers            # all variants, 7 rounds
    python -m benchmarks compilers fast plain --rounds 15
    python -m benchmarks compilers --steady 0   # first steps only; --rounds 0 for steady ones only

`cold` and `warm` are the seconds of a process from its start to the end of its first training step,
with an empty and with a filled cache of compiled code. The other columns are microseconds of a call
of `loss_and_gradient`: 784-1024-1024-10 at 10 % and at 100 % with 128 samples, a DAG of 1,000 nodes
and 20,000 edges with 128 samples and with one. All figures are CPU time on one core, medians over
rounds in which the variants take turns, so that other processes on the machine disturb them little.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

# The fast compiler with one part replaced by Numba's: code that runs before `import dagbp`.
WITHOUT = {
    "target": """
import sys, types
from numba.core.registry import CPUDispatcher, cpu_target
sys.modules["dagbp._compiler.target"] = types.SimpleNamespace(
    TARGET=cpu_target, KernelDispatcher=CPUDispatcher
)
""",
    "loops": """
from numba.core.imputils import Registry
from dagbp._compiler import target
target._loops = Registry("none")
""",
    "library": """
from dagbp._compiler import passes
passes.InnerCompiler.define_pipelines = passes.OuterCompiler.define_pipelines
""",
    "passes": """
from numba.core.compiler import DefaultPassBuilder
from dagbp._compiler import passes
def define_pipelines(self):
    manager = DefaultPassBuilder.define_nopython_pipeline(self.state)
    chosen = [one for one, _ in manager.passes]
    if isinstance(self, passes.InnerCompiler):
        chosen.insert(chosen.index(passes.FixupArgs) + 1, passes.UseInnerLibrary)
    return passes._pipeline(*chosen)
passes.InnerCompiler.define_pipelines = define_pipelines
passes.OuterCompiler.define_pipelines = define_pipelines
""",
}

# name -> (DAGBP_COMPILER, code that runs first)
VARIANTS = {
    "fast": ("fast", ""),
    "plain": ("plain", ""),
    **{f"fast without {part}": ("fast", code) for part, code in WITHOUT.items()},
}

FIRST_STEP = """
import os
BEFORE
import numpy as np
import dagbp
net = dagbp.compile(dagbp.layered([64, 128, 10], density=0.2, seed=0), seed=0, n_threads=1)
rng = np.random.default_rng(0)
net.fit(rng.random((64, 64)), rng.random((64, 10)), batch_size=64, epochs=1, verbose=0)
print(sum(os.times()[:2]))
"""

STEPS = """
import json, sys, time
BEFORE
import numpy as np
import dagbp

def case(graph, n_samples):
    net = dagbp.compile(graph, dtype="float32", n_threads=1, seed=0)
    rng = np.random.default_rng(0)
    X = rng.random((n_samples, len(net.inputs)), np.float32)
    Y = rng.random((n_samples, len(net.outputs)), np.float32)
    return lambda: net.loss_and_gradient(X, Y)

layers = [784, 1024, 1024, 10]
dag = dagbp.random_dag(1000, 20000, 50, 10, seed=0)
cases = {
    "10 %": (case(dagbp.layered(layers, density=0.1, seed=0), 128), 4),
    "100 %": (case(dagbp.layered(layers, seed=0), 128), 1),
    "DAG": (case(dag, 128), 30),
    "one": (case(dag, 1), 200),
}
for line in sys.stdin:
    found = {}
    for name, (call, times) in cases.items():
        call()
        start = time.process_time()
        for _ in range(times):
            call()
        found[name] = (time.process_time() - start) / times * 1e6
    print(json.dumps(found), flush=True)
"""


def environment(variant, cache):
    """Return the environment of a variant's processes."""
    unset = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
    rest = {name: value for name, value in os.environ.items() if name not in unset}
    compiler = VARIANTS[variant][0]
    return rest | {"NUMBA_CACHE_DIR": cache, "DAGBP_COMPILER": compiler, "OMP_NUM_THREADS": "1"}


def command(variant, code):
    """Return the command of a variant's process."""
    return [sys.executable, "-c", code.replace("BEFORE", VARIANTS[variant][1])]


def turn(variants, k):
    """Return the variants in the order of round k: each one is the first of a round in turn."""
    first = k % len(variants)
    return variants[first:] + variants[:first]


def first_steps(variants, rounds):
    """Return seconds by variant: lists of cold and of warm first steps."""
    found = {variant: {"cold": [], "warm": []} for variant in variants}
    for k in range(rounds):
        for variant in turn(variants, k):
            with tempfile.TemporaryDirectory() as cache:
                for times in found[variant].values():
                    printed = subprocess.run(
                        command(variant, FIRST_STEP),
                        env=environment(variant, cache),
                        stdout=subprocess.PIPE,
                        check=True,
                        text=True,
                    ).stdout
                    times.append(float(printed))
    return found


def steady_steps(variants, rounds):
    """Return microseconds by variant: a list for each case."""
    workers = {}
    with tempfile.TemporaryDirectory() as cache:
        for variant in variants:
            workers[variant] = subprocess.Popen(
                command(variant, STEPS),
                env=environment(variant, os.path.join(cache, variant)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        found = {variant: {} for variant in variants}
        for k in range(rounds + 1):
            for variant in turn(variants, k):
                worker = workers[variant]
                worker.stdin.write("\n")
                worker.stdin.flush()
                for name, time in json.loads(worker.stdout.readline()).items():
                    if k > 0:  # the first round compiles
                        found[variant].setdefault(name, []).append(time)
        for worker in workers.values():
            worker.communicate()
    return found


def main(arguments):
    """Print a table of medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help=", ".join(VARIANTS))
    parser.add_argument("--quick", action="store_true", help="one round of each compiler")
    parser.add_argument("--rounds", type=int, default=7, help="of first steps")
    parser.add_argument("--steady", type=int, default=35, help="rounds of steady steps")
    options = parser.parse_args(arguments)
    if options.quick:
        options.variants, options.rounds, options.steady = ["fast", "plain"], 1, 1
    variants = options.variants or list(VARIANTS)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])
    rows = {variant: {} for variant in variants}
    if options.rounds > 0:
        rows = first_steps(variants, options.rounds)
    if options.steady > 0:
        for variant, found in steady_steps(variants, options.steady).items():
            rows[variant] |= found
    width = max(map(len, variants))
    print(" " * width, *(f"{name:>8}" for name in rows[variants[0]]))
    for variant, found in rows.items():
        medians = [statistics.median(times) for times in found.values()]
        texts = [f"{m:8.2f}" if m < 100 else f"{m:8.0f}" for m in medians]
        print(variant.ljust(width), *texts, flush=True)
