"""The control loop of the docs: sixty lines, onnxruntime alone, the actions of `predict`."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np

from trl_suite.interface import Deployment
from trl_suite.networks.policy import load

SCRIPT = Path(__file__).parents[3] / "docs" / "controllers" / "run_policy.py"


def test_the_docs_control_loop_gives_the_actions_of_predict_at_the_files_rate(tmp_path):
    text = SCRIPT.read_text()
    assert len(text.splitlines()) <= 60
    assert "torch" not in text
    assert "trl_suite" not in text
    policy = load("inverted-pendulum-ppo-seed-0")
    path = policy.to_onnx(tmp_path / "policy.onnx", Deployment(control_hz=200.0))
    command = [sys.executable, str(SCRIPT), str(path), "20"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "20 control steps at 200 Hz" in done.stdout
    with (tmp_path / "log.csv").open() as file:
        header, *rows = csv.reader(file)
    slots = policy.interface
    assert header == ["time", *slots.observation_names, *slots.action_names]
    numbers = np.array(rows, np.float64)
    split = 1 + len(slots.observation)
    assert np.abs(policy.predict(numbers[:, 1:split])[0] - numbers[:, split:]).max() < 1e-5
    assert np.allclose(np.diff(numbers[:, 0]), 1 / 200)
