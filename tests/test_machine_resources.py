"""Questions about the machine, asked as each system answers them."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from trl_suite import machine_resources


def test_a_process_is_running_until_it_ends():
    assert machine_resources.is_running(os.getpid())
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert not machine_resources.is_running(child.pid)


@pytest.mark.parametrize(("handle", "waited", "runs"), [(0, 0, False), (7, 0, False), (7, 0x102, True)])
def test_windows_is_asked_without_a_signal(monkeypatch: pytest.MonkeyPatch, handle: int, waited: int, runs: bool):
    closed = []
    kernel = SimpleNamespace(
        OpenProcess=lambda *_: handle, WaitForSingleObject=lambda *_: waited, CloseHandle=closed.append
    )
    monkeypatch.setattr(machine_resources.sys, "platform", "win32")
    monkeypatch.setattr(machine_resources.ctypes, "windll", SimpleNamespace(kernel32=kernel), raising=False)
    monkeypatch.setattr(machine_resources.os, "kill", lambda *_: pytest.fail("0 is Ctrl-C on Windows"))
    assert machine_resources.is_running(1) is runs
    assert closed == ([handle] if handle else [])


def test_a_system_that_tells_less_is_asked_for_less(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setitem(sys.modules, "resource", None)
    assert machine_resources.cores() == os.cpu_count()
    machine_resources.limit_process(1, 1)  # Windows: no limits, and no error
