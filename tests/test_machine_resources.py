"""Questions about the machine, asked as each system answers them."""

import os
import subprocess
import sys

import psutil
import pytest

from trl_suite import machine_resources


def test_a_process_is_running_until_it_ends():
    assert machine_resources.is_running(os.getpid())
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert not machine_resources.is_running(child.pid)


@pytest.mark.parametrize("there", [True, False])
def test_psutil_asks_each_system_in_its_own_way(monkeypatch: pytest.MonkeyPatch, there: bool):
    """On Windows signal 0 is Ctrl-C: the suite sends none itself."""
    monkeypatch.setattr(psutil, "pid_exists", lambda _: there)
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("0 is Ctrl-C on Windows"))
    assert machine_resources.is_running(1) is there


def test_a_system_that_tells_less_is_asked_for_less(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setitem(sys.modules, "resource", None)
    assert machine_resources.cores() == os.cpu_count()
    machine_resources.limit_process(1, 1)  # Windows: no limits, and no error
