import csv
import importlib.util
import sys
import types

import torch.utils

from edgepers.train.step_log import COLUMNS, StepLog, logged_losses
from edgepers.train.trainer import TrainStep

STEPS = [TrainStep(1, 2, 3.5, 100.04, 1e-3), TrainStep(2, 2, 2.5, 120.0, 5e-4)]


def test_each_step_is_a_line_and_a_restart_begins_anew(tmp_path):
    for steps in (STEPS, STEPS[:1]):
        with StepLog(tmp_path / "rounds", "0001") as log:
            for step in steps:
                log.write(step, 1000)
                assert (tmp_path / "rounds" / "0001.csv").read_text().count("\n") == step.step + 1  # there at once
    rows = list(csv.reader((tmp_path / "rounds" / "0001.csv").read_text().splitlines()))
    assert tuple(rows[0]) == COLUMNS and len(rows) == 2
    assert [float(x) for x in rows[1]] == [1, 3.5, 1e-3, 100.0, 1000]


def test_its_losses_are_read_back_also_while_a_line_is_being_written(tmp_path):
    assert logged_losses(tmp_path, "0001") == []
    with StepLog(tmp_path, "0001") as log:
        assert logged_losses(tmp_path, "0001") == []
        for step in STEPS:
            log.write(step, 1000)
    with (tmp_path / "0001.csv").open("a") as file:
        file.write("3,1.")
    assert logged_losses(tmp_path, "0001") == [(1, 3.5), (2, 2.5)]


def test_tensorboard_gets_the_same_where_it_is_installed(tmp_path, monkeypatch):
    told = []

    class SummaryWriter:
        def __init__(self, folder):
            told.append(folder)

        def add_scalar(self, *values):
            told.append(values)

        def close(self):
            told.append("closed")

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True if name == "tensorboard" else found(name))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=SummaryWriter))
    monkeypatch.setattr(torch.utils, "tensorboard", sys.modules["torch.utils.tensorboard"], raising=False)
    with StepLog(tmp_path, "0001") as log:
        log.write(STEPS[0], 1000)
    assert told[0] == str(tmp_path / "tensorboard" / "0001")
    assert ("loss", 3.5, 1) in told and told[-1] == "closed"
