"""Clocks and sources, and a run that is resumed without further epochs."""

from dataclasses import replace
from threading import Event

import numpy as np
import pytest
from networks import CASE
from strategies import random_samples

from dagbp import OptionError
from dagbp._data.problem import read_problem
from dagbp._engine.clock import Clock, Position
from dagbp._kernels.frames import UPDATES
from dagbp._model.model import Model
from dagbp._network import model_of
from dagbp._training.minibatches import Minibatches
from dagbp._training.stream import Batches
from dagbp.callbacks import Callback

X, Y = random_samples(0, CASE, 23)


def model():
    return model_of(CASE.compile(dtype="float64", seed=0))


def problem(X, Y):
    return read_problem(model().names, np.dtype("float64"), X, Y, "squared_error", None)


def stream(batches):
    return Batches(batches, lambda batch: problem(*batch), 3, 0, model().lock)


def never():
    return False


def take(clock, n_samples, loss):
    """Count one batch as the kernels do."""
    batch = clock.for_batch(n_samples)
    frame = batch.frame()
    frame.step_loss[0] = loss
    frame.count[UPDATES] += 1
    return clock.count_in(batch)


def test_a_clock_counts_batches_and_means_their_losses_over_samples():
    clock = Clock(2, 1, updates=7)
    assert (clock.epoch, clock.step, clock.updates, clock.moved) == (0, 0, 0, False)
    assert np.isnan(clock.step_loss)
    assert take(clock, 3, 5.0)
    assert take(clock, 1, 9.0)
    assert not clock.count_in(clock.for_batch(4))  # not taken
    assert (clock.step, clock.updates, clock.step_loss, clock.moved) == (2, 2, 9.0, True)
    clock.end_epoch()
    assert (clock.epoch, clock.step, clock.epoch_losses(0)) == (1, 0, [6.0])
    assert clock.position == Position(1, 0, 2, 9, 0, 6.0, 0.0, 9.0)


@pytest.mark.parametrize("n_batches", [0, 1, 2])
def test_a_clock_continues_from_its_position(n_batches):
    first, second = Clock(3, 1), Clock(3, 1)
    for clock in (first, second):
        take(clock, 2, 1.0)
        clock.end_epoch()
    for k in range(n_batches):
        take(first, 3 + k, 0.1 * k)
    second = Clock(3, 1)
    second.resume(first.position, seconds=100.0)
    assert second.position == first.position
    assert second.seconds > 100
    assert not second.moved
    for clock in (first, second):
        take(clock, 5, 0.7)
        clock.end_epoch()
    assert first.epoch_losses(1) == second.epoch_losses(1)


def test_a_clock_repeats_the_shuffle_of_an_epoch_in_progress():
    clock, position = Clock(3, 4, shuffle=True, seed=5), Clock(3, 4).position
    clock.resume(replace(position, epoch=1, random=9), 0.0)
    assert clock.position.random == 9
    again = clock.frame().count.tolist()
    clock.resume(replace(position, epoch=1, step=2, random=9), 0.0)
    assert clock.position.random == 9
    changed = [k for k, (a, b) in enumerate(zip(again, clock.frame().count, strict=True)) if a != b]
    assert len(changed) == 2  # the step, and the order to draw once more


def test_a_clock_has_the_begin_of_each_step():
    clock = Clock(9, 1)
    clock.stop_at(2, None)
    assert clock.times(4).tolist() == [k / 4 for k in range(8)]
    clock.stop_at(9, 3)
    assert clock.times(4).tolist() == [0.0, 0.25, 0.5]
    assert clock.times(None).tolist() == [0.0]
    clock.stop_at(9, 0)
    assert len(clock.times(4)) == 1


def test_a_stream_hands_out_a_batch_again_if_its_step_was_not_taken():
    source = stream([(X[:5], Y[:5]), (X[5:], Y[5:])])
    first = source.next(0, never)
    assert first.batch_size == 5
    source.settle(first, taken=False)
    assert source.next(0, never) is first
    source.settle(first, taken=True)
    assert source.next(0, never).batch_size == 18
    assert source.next(0, never) is None
    assert source.next(1, never).batch_size == 5
    source.close()


def test_a_stream_skips_batches_that_were_taken_and_can_stop_waiting():
    source = stream([(X[:5], Y[:5]), (X[5:], Y[5:])])
    source.seek(1)
    assert source.next(0, never).batch_size == 18
    source.close()

    ready = Event()

    def slow(epoch):
        ready.wait()
        yield X, Y

    source = stream(slow)
    assert source.next(0, lambda: True) is None
    ready.set()
    assert source.next(0, never).batch_size == 23
    source.close()


def test_minibatches_are_the_same_for_every_epoch_and_check_the_step():
    source = Minibatches(problem(X, Y), 5, True, 3)
    assert source.next(0, never) is source.next(7, never)
    assert (source.steps_per_epoch, source.batch_size) == (5, 5)
    source.seek(4)
    with pytest.raises(OptionError, match="was at step 5 of an epoch, but an epoch has 5 steps"):
        source.seek(5)


def test_the_state_of_a_run_in_progress_can_be_read():
    net, seen = CASE.compile(dtype="float64", seed=0), []

    class Ask(Callback):
        def on_step_end(self, progress):
            state = model_of(progress.network).last_run
            seen.append((state.epoch, state.step, state.n_updates))

    net.fit(X, Y, epochs=1, batch_size=12, callbacks=[Ask()])
    assert isinstance(model_of(net), Model)
    assert seen == [(0, 1, 1), (1, 0, 2)]
    assert model_of(net).last_run.n_updates == 2


@pytest.mark.parametrize("form", ["arrays", "stream"])
def test_a_resume_without_further_epochs_keeps_the_loss_of_the_last_epoch(form):
    class Stop(Callback):
        def on_step_end(self, progress):
            if progress.n_updates == 12:
                progress.stop("here", resumable=True)

    def train(net, epochs, **options):
        if form == "arrays":
            return net.fit(X, Y, batch_size=5, epochs=epochs, seed=0, **options)
        batches = [(X[k : k + 5], Y[k : k + 5]) for k in range(0, 23, 5)]
        return net.fit_batches(batches, epochs=epochs, seed=0, **options)

    one, two = (CASE.compile(dtype="float64", seed=0) for _ in range(2))
    expected = train(one, 4)
    train(two, 4, callbacks=[Stop()])
    train(two, 2, resume=True)  # stands in the third epoch, so there is nothing to do
    assert train(two, 4, resume=True).loss == expected.loss
    assert np.array_equal(one.parameters, two.parameters)
