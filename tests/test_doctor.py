"""What `doctor` says of a GPU, and of children that do not answer."""

import subprocess
import sys

import pytest
import torch

from trl_suite.cli.verbs import doctor
from trl_suite.worlds.warp import device_check, warp_library


def test_a_child_that_hangs_or_dies_without_a_word_is_an_answer(monkeypatch):
    monkeypatch.setattr(doctor, "CHILD_SECONDS", 0.5)
    hung = doctor._child(["-c", "import time; time.sleep(60)"])
    assert doctor._last_line(hung) == "no answer within 0.5 s"
    monkeypatch.setattr(doctor, "CHILD_SECONDS", 60)
    dead = doctor._child(["-c", "import os; os._exit(3)"])
    assert doctor._last_line(dead) == "the process ended with code 3 and without a word"


@pytest.mark.parametrize("ask", [doctor._graphs, doctor._warp])
def test_such_a_child_is_no_traceback(ask, monkeypatch):
    monkeypatch.setattr(warp_library, "obstacle", lambda: "")
    monkeypatch.setattr(doctor, "_child", lambda _: subprocess.CompletedProcess([], -11, "", ""))
    assert "the process ended with code -11 and without a word" in ask()


def test_what_cannot_be_captured_is_said_with_its_cause(monkeypatch):
    def fail(*_):
        try:
            raise RuntimeError("operation not permitted when stream is capturing")
        except RuntimeError as error:
            raise RuntimeError("operation failed due to a previous error") from error

    monkeypatch.setattr(device_check, "captured", fail)
    monkeypatch.setattr(torch, "zeros", lambda *_, **__: None)
    monkeypatch.setattr(torch.cuda, "Stream", lambda _: None)
    monkeypatch.setattr(device_check, "obstacle", lambda: "")
    monkeypatch.setattr(device_check, "warp_graph", lambda _: "a launch gave 0")
    torchs, warps = device_check.findings(torch.device("cuda"))
    assert "torch's graphs do not work: operation not permitted when stream is capturing; " in torchs
    assert "updates run kernel by kernel" in torchs
    assert "Warp's graphs do not work: a launch gave 0; physics = 'mujoco'" in warps


@pytest.mark.slow
@pytest.mark.skipif(bool(warp_library.obstacle()), reason=warp_library.obstacle())
def test_warps_graphs_with_a_loop_work_on_its_cpu_device():
    done = subprocess.run(
        [sys.executable, "-m", device_check.__name__, "cpu"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith("Warp's graphs work")
