"""Callbacks that write files: logs and checkpoints, also of resumed runs."""

import csv
import json
import os
from functools import partial

import numpy as np
import pytest
from networks import CASE
from networks import network as compiled
from training_runs import SGD_OPTIONS as OPTIONS
from training_runs import STEPS, V, X, Y, monitored

import dagbp
from dagbp import OptionError
from dagbp.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    ExponentialDecay,
    JSONLogger,
    ModelCheckpoint,
)

network = partial(compiled, CASE, dtype="float64")


def rows_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_loggers(tmp_path):
    table, lines = tmp_path / "log.csv", tmp_path / "log.jsonl"
    hooks = [CSVLogger(table), JSONLogger(lines), ExponentialDecay(0.5)]
    history = network().fit(X, Y, epochs=3, callbacks=hooks, validation_data=V, **OPTIONS)
    rows = rows_of(table)
    objects = [json.loads(line) for line in lines.read_text().splitlines()]
    assert list(rows[0]) == list(objects[0])
    for k, (row, one) in enumerate(zip(rows, objects, strict=True)):
        assert {name: float(value) for name, value in row.items()} == one
        assert (one["epoch"], one["n_updates"]) == (k + 1, STEPS * (k + 1))
        assert (one["loss"], one["val_loss"]) == (history.loss[k], history.val_loss[k])
        assert one["learning_rate"] == pytest.approx(0.02 * 0.5 ** (k + 0.8))
    network().fit(X, Y, epochs=1, callbacks=[CSVLogger(table), JSONLogger(lines)], **OPTIONS)
    (row,) = rows_of(table)
    assert row["val_loss"] == ""
    assert "val_loss" not in json.loads(lines.read_text())
    network().fit(X, Y, epochs=2, callbacks=[CSVLogger(table, append=True)], **OPTIONS)
    assert [row["epoch"] for row in rows_of(table)] == ["1", "1", "2"]


def test_a_resumed_log_has_each_epoch_once(tmp_path):
    """Also epochs after the last checkpoint, and an incomplete last line."""
    place = tmp_path / "net.dagbp"
    logs = tmp_path / "log.csv", tmp_path / "log.jsonl"

    def hooks():
        save = ModelCheckpoint(place, every_epochs=2)
        return [CSVLogger(logs[0]), JSONLogger(logs[1]), save]

    class Kill(Callback):
        def on_epoch_end(self, progress):
            if progress.epoch == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        network().fit(X, Y, epochs=5, callbacks=[*hooks(), Kill()], **OPTIONS)
    for log in logs:
        log.write_text(log.read_text()[:-4])
    dagbp.load(place).fit(X, Y, epochs=5, callbacks=hooks(), resume=True, **OPTIONS)
    assert [row["epoch"] for row in rows_of(logs[0])] == list("12345")
    assert [json.loads(line)["epoch"] for line in logs[1].read_text().splitlines()] == [
        1,
        2,
        3,
        4,
        5,
    ]


def test_checkpoints_by_epoch_step_and_improvement(tmp_path):
    path = tmp_path / "{epoch}-{n_updates}.dagbp"
    network().fit(X, Y, epochs=4, callbacks=[ModelCheckpoint(path, every_epochs=2)], **OPTIONS)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["2-10.dagbp", "4-20.dagbp"]
    (tmp_path / "b").mkdir()
    by_step = ModelCheckpoint(tmp_path / "b" / path.name, every_epochs=None, every_steps=8)
    network().fit(X, Y, epochs=4, callbacks=[by_step], **OPTIONS)
    names = ["1-8.dagbp", "3-16.dagbp", "4-20.dagbp"]  # and at the end
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == names
    (tmp_path / "c").mkdir()
    best = ModelCheckpoint(tmp_path / "c" / path.name, monitor=monitored([3.0, 4.0, 2.0, 2.0]))
    net = network()
    net.fit(X, Y, epochs=4, callbacks=[best], **OPTIONS)
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["1-5.dagbp", "3-15.dagbp"]


def test_a_resumed_log_keeps_earlier_lines(tmp_path):
    class Limit(Callback):
        def on_step_end(self, progress):
            if progress.n_updates == 2:
                progress.stop("time", resumable=True)

    log, net = tmp_path / "log.csv", network()
    net.fit(X, Y, epochs=3, callbacks=[CSVLogger(log)], **OPTIONS)
    net.fit(X, Y, epochs=2, callbacks=[CSVLogger(log, append=True), Limit()], **OPTIONS)
    hooks = [CSVLogger(log, append=True)]
    net.fit(X, Y, epochs=2, callbacks=hooks, resume=True, **OPTIONS)
    assert [row["epoch"] for row in rows_of(log)] == list("12312")


def test_missing_folders_are_refused_and_old_temporary_files_removed(tmp_path):
    with pytest.raises(OptionError, match=r"ModelCheckpoint: there is no folder '.*no"):
        network().fit(X, Y, callbacks=[ModelCheckpoint(tmp_path / "no" / "net")], **OPTIONS)
    with pytest.raises(OptionError, match=r"CSVLogger: there is no folder '.*no"):
        network().fit(X, Y, callbacks=[CSVLogger(tmp_path / "no" / "log")], **OPTIONS)
    stale, other = tmp_path / ".net.1234abcd.tmp", tmp_path / ".other.1234abcd.tmp"
    for file in (stale, other):
        file.write_text("half")
        os.utime(file, (0, 0))
    network().fit(X, Y, epochs=1, callbacks=[ModelCheckpoint(tmp_path / "net")], **OPTIONS)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".other.1234abcd.tmp", "net"]


def test_a_checkpoint_at_the_end_holds_the_restored_best(tmp_path):
    hooks = [EarlyStopping(lambda progress: float(progress.epoch)), ModelCheckpoint(tmp_path / "n")]
    net = network()
    net.fit(X, Y, epochs=4, callbacks=hooks, **OPTIONS)
    loaded = dagbp.load(tmp_path / "n")
    assert np.array_equal(loaded.parameters, net.parameters)
    whole = network()
    history = whole.fit(X, Y, epochs=7, **OPTIONS)
    hooks = [EarlyStopping(lambda progress: float(progress.epoch), restore_best=False)]
    assert loaded.fit(X, Y, epochs=7, callbacks=hooks, resume=True, **OPTIONS).loss == history.loss


def test_checkpoints_of_the_best_among_some_epochs(tmp_path):
    path = tmp_path / "{epoch}.dagbp"
    monitor = monitored([3.0, 2.0, 4.0, 1.0])  # of epochs 2, 4, 6, 8
    best = ModelCheckpoint(path, every_epochs=2, monitor=monitor)
    network().fit(X, Y, epochs=8, callbacks=[best], **OPTIONS)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["2.dagbp", "4.dagbp", "8.dagbp"]
    with pytest.raises(
        OptionError, match="every_epochs must be a whole number >= 1 where monitor is given"
    ):
        ModelCheckpoint(path, every_epochs=None, monitor="loss")


def test_a_log_that_begins_in_a_resumed_run_keeps_other_lines(tmp_path):
    log, net = tmp_path / "log.csv", network()
    network().fit(X, Y, epochs=5, callbacks=[CSVLogger(log)], **OPTIONS)
    net.fit(X, Y, epochs=2, **OPTIONS)
    for epochs in (3, 4):
        hooks = [CSVLogger(log, append=True)]
        net.fit(X, Y, epochs=epochs, resume=True, callbacks=hooks, **OPTIONS)
    assert [row["epoch"] for row in rows_of(log)] == list("1234534")


@pytest.mark.parametrize("name", ["net-{epoch:03d}.dagbp", "net[1].dagbp"])
def test_temporary_files_of_any_name_are_removed(tmp_path, name):
    of_it = name.replace("{epoch:03d}", "007")
    stale, other = tmp_path / f".{of_it}.1234abcd.tmp", tmp_path / ".net1.dagbp.1234abcd.tmp"
    for file in (stale, other):
        file.write_text("half")
        os.utime(file, (0, 0))
    network().fit(X, Y, epochs=1, callbacks=[ModelCheckpoint(tmp_path / name)], **OPTIONS)
    assert not stale.exists()
    assert other.exists()
