"""One run, one writer: whoever dies, whatever the clocks say."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import msgspec
import pytest

from trl_suite.experiment.running import lease
from trl_suite.experiment.running.lease import Lease, LeaseLostError, LeaseObserver


def foreign(folder, **changes) -> None:
    """Make the lease in a folder one of another machine, whose processes cannot be looked up."""
    path = folder / "lease" / "owner.json"
    owner = msgspec.json.decode(path.read_bytes(), type=lease.LeaseOwner)
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(owner, host="elsewhere", **changes)))


def test_a_run_is_one_process_until_it_is_given_back(tmp_path):
    first = Lease.claim(tmp_path, LeaseObserver())
    assert first is not None
    assert Lease.claim(tmp_path, LeaseObserver()) is None
    first.check()
    first.release()
    second = Lease.claim(tmp_path, LeaseObserver())
    assert second is not None
    with pytest.raises(LeaseLostError):
        first.check()
    first.release()  # takes nothing from the second
    second.check()
    second.release()
    assert list(tmp_path.iterdir()) == []


def claim_many(folders, queue):
    won = [str(folder) for folder in folders if Lease.claim(folder, LeaseObserver())]
    queue.put(won)
    time.sleep(60)  # a living owner


def test_many_processes_claim_every_run_exactly_once(tmp_path):
    folders = [tmp_path / str(i) for i in range(40)]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=claim_many, args=(folders, queue)) for _ in range(6)]
    for worker in workers:
        worker.start()
    won = [name for _ in workers for name in queue.get(timeout=60)]
    for worker in workers:
        worker.kill()
        worker.join()
    assert sorted(won) == sorted(map(str, folders))
    # the dead ones' runs can be had at once: their pids are this machine's
    assert all(Lease.claim(folder, LeaseObserver()) for folder in folders)


def test_a_dead_owner_of_this_machine_is_succeeded_and_a_living_one_is_not(tmp_path):
    code = "import sys; from pathlib import Path; from trl_suite.experiment.running.lease import *\n"
    code += f"print(Lease.claim(Path({str(tmp_path)!r}), LeaseObserver()), flush=True); import time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert "Lease" in owner.stdout.readline()
        assert Lease.claim(tmp_path, LeaseObserver(expiry=0.0)) is None
        os.kill(owner.pid, signal.SIGKILL)
        time.sleep(0.2)  # dead, and not yet fetched by its parent
        assert Lease.claim(tmp_path, LeaseObserver()) is not None


def test_an_owner_elsewhere_dies_only_by_being_watched(tmp_path):
    assert Lease.claim(tmp_path, LeaseObserver()) is not None
    foreign(tmp_path)
    watcher = LeaseObserver(expiry=0.3)
    assert watcher.is_live(tmp_path)  # nobody has watched it for long enough, however old its files are
    time.sleep(0.4)
    assert not watcher.is_live(tmp_path)
    assert LeaseObserver(expiry=0.3).is_live(tmp_path)
    assert Lease.claim(tmp_path, watcher) is not None


def test_a_clock_that_is_wrong_makes_no_two_owners(tmp_path):
    """Times of files are not looked at: neither a clock in the past nor one in the future makes an owner dead."""
    held = Lease.claim(tmp_path, LeaseObserver())
    assert held is not None
    foreign(tmp_path)
    watcher = LeaseObserver(expiry=0.5)
    for shift in (-(10**6), 10**6, 0):
        path = tmp_path / "lease" / "heartbeat.json"
        path.write_bytes(msgspec.json.encode(lease.Heartbeat(step=shift + 10**6)))
        os.utime(path, (time.time() + shift, time.time() + shift))
        assert watcher.is_live(tmp_path)
        time.sleep(0.3)
        assert watcher.is_live(tmp_path)


def test_who_was_suspended_finds_the_run_taken_and_writes_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.0)
    suspended = Lease.claim(tmp_path, LeaseObserver())
    assert suspended is not None
    assert suspended.heartbeat(10)
    foreign(tmp_path)
    watcher = LeaseObserver(expiry=0.0)
    watcher.is_live(tmp_path)
    successor = Lease.claim(tmp_path, watcher)
    assert successor is not None
    with pytest.raises(LeaseLostError, match="another process has taken the run over"):
        suspended.heartbeat(20)
    assert successor.heartbeat(30)
    assert lease.last_heartbeat(tmp_path).step == 30


@pytest.mark.parametrize(("runs", "seconds"), [(1, 10.0), (32, 10.0), (64, 20.0), (10_000, 60.0)])
def test_signs_of_life_of_many_runs_are_rarer_and_never_too_rare(runs, seconds):
    assert lease.pause(runs) == seconds < lease.STALE_LEASE_SECONDS / 2


def test_two_who_see_one_owner_dead_do_not_both_succeed_it(tmp_path):
    assert Lease.claim(tmp_path, LeaseObserver()) is not None
    foreign(tmp_path)
    both = [LeaseObserver(expiry=0.0), LeaseObserver(expiry=0.0)]
    for one in both:
        one.is_live(tmp_path)
    assert not any(one.is_live(tmp_path) for one in both)
    winners = [Lease.claim(tmp_path, one) for one in both]
    assert winners[0] is not None
    assert winners[1] is None


def test_a_pid_that_is_used_again_is_another_process(tmp_path):
    assert Lease.claim(tmp_path, LeaseObserver()) is not None
    path = tmp_path / "lease" / "owner.json"
    owner = msgspec.json.decode(path.read_bytes(), type=lease.LeaseOwner)
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(owner, born="1")))
    assert not LeaseObserver().is_live(tmp_path)
