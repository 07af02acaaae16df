"""Processes that are killed: the file loads, and the resumed run has the same bits."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from networks import run_python
from training_runs import assert_same_run

import dagbp

TRAIN = """
import sys
import numpy as np
import dagbp
from dagbp.callbacks import CosineDecay, ModelCheckpoint

path, resume = sys.argv[1], len(sys.argv) > 2
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(400, 12)), rng.normal(size=(400, 3))
net = dagbp.load(path) if resume else dagbp.compile(
    dagbp.layered([12, 60, 60, 3], density=0.4, activation="tanh", seed=0), seed=0, n_threads=1
)
save = ModelCheckpoint(path, every_epochs=None, every_steps=3)
if not resume:
    net.save(path)
    print("ready", flush=True)
net.fit(
    X, Y, epochs=60, batch_size=37, seed=1, dropout=0.1, verbose=0, callbacks=[save, CosineDecay()],
    resume=resume and net.history is not None,
)
print(net.parameters.tobytes().hex(), net.history.loss)
"""


def train(*arguments):
    return run_python(TRAIN, *arguments).splitlines()[-1]


def kill_and_resume(path, whole, delays):
    """Kill a training process after each delay; resume it in the end; return the steps it had."""
    taken = []
    for k, delay in enumerate(delays):
        arguments = [str(path)] + ["resume"] * (k > 0)
        process = subprocess.Popen(
            [sys.executable, "-c", TRAIN, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        if k == 0:
            process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        loaded = dagbp.load(path)
        taken.append(0 if loaded.history is None else loaded.history.n_updates)
    assert train(str(path), "resume") == whole
    return taken


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_process_resumes_to_the_same_bits(tmp_path):
    whole = train(str(tmp_path / "whole"))
    taken = kill_and_resume(tmp_path / "net", whole, [0.01, 0.6])
    assert taken == sorted(taken)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_hundred_kills(tmp_path):
    """Every file that a kill leaves loads, and every run that was killed ends with the same bits.

    The writers do nothing but step and save, so most kills come while a file is written. They are
    forked from a process that has loaded the kernels, killed, and resumed in this one.
    """
    rng, path = np.random.default_rng(0), tmp_path / "net.dagbp"
    whole, history = reference_run()
    data, options = writer_arguments()
    command = [sys.executable, "-W", "ignore", "-c", WRITERS, path]
    midway = 0
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writers:
        for _ in range(120):
            writers.stdin.write("go\n")
            writers.stdin.flush()
            writer = int(writers.stdout.readline())
            time.sleep(rng.uniform(0, 0.3))
            os.kill(writer, signal.SIGKILL)
            writers.stdout.readline()  # it has ended
            net = dagbp.load(path)
            resumed = net.history is not None
            midway += resumed and 0 < net.history.n_updates < history.n_updates
            assert_same_run(whole, net, (history, net.fit(*data, resume=resumed, **options)))
            for file in tmp_path.glob(".net.dagbp.*"):  # what a kill may leave beside
                file.unlink()
        writers.stdin.close()
    assert midway >= 60, "most runs were killed before or after their training"


WRITERS = f"""
import os, sys
sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[1] / "support")!r}]
from test_kills import writer_arguments, writer_network
from dagbp.callbacks import ModelCheckpoint

path = sys.argv[1]
data, options = writer_arguments()
writer_network().fit(*data, **{{**options, "epochs": 1}})  # loads the kernels
for line in sys.stdin:
    net = writer_network()
    net.save(path)
    child = os.fork()
    if child == 0:
        save = ModelCheckpoint(path, every_epochs=None, every_steps=1)
        net.fit(*data, callbacks=[save], **options)
        os._exit(0)
    print(child, flush=True)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""


def writer_network():
    G = dagbp.layered([12, 60, 60, 3], density=0.4, activation="tanh", seed=0)
    return dagbp.compile(G, seed=0, n_threads=1)


def writer_arguments():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(400, 12)), rng.normal(size=(400, 3))
    return data, {"epochs": 40, "batch_size": 37, "seed": 1, "dropout": 0.1, "verbose": 0}


def reference_run():
    net = writer_network()
    data, options = writer_arguments()
    return net, net.fit(*data, **options)
