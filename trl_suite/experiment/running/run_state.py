"""How far runs are, as their folders say: light enough to ask ten thousand of them."""

from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from trl_suite import record
from trl_suite.experiment.running import lease
from trl_suite.files import reason_of, regular_bytes

PLAN, RUN, EVALUATIONS, VERSIONS = "plan.json", "run.json", "evaluations.csv", "versions"

Condition = Literal["waiting", "running", "done", "failed", "interrupted", "refused"]


class RunState(NamedTuple):
    """State of a run, read from its folder."""

    condition: Condition
    why: str = ""  # of what failed or is refused
    seconds: float = 0.0  # spent so far, up to the last checkpoint or end
    steps: int = 0  # the budget
    attempts: int = 0
    failures: int = 0


class _Head(msgspec.Struct, frozen=True):
    """The part of a run's record that is read often."""

    digest: str
    status: record.Status
    specification: msgspec.Raw
    steps: int = 0
    seconds: float = 0.0
    schema: int = record.RECORD_SCHEMA
    attempts: int = 1
    failures: int = 0
    error: str = ""


_HEAD = msgspec.json.Decoder(_Head)


def read(folder: Path, digest: str = "") -> RunState:
    """Return the state of a run's folder; a folder that is not what it claims to be is `refused`.

    Args:
        folder: of the run.
        digest: that its specification is to have; any where not given.
    """
    try:
        content = regular_bytes(folder / RUN)
    except FileNotFoundError:
        return RunState("waiting")
    except OSError as error:
        return RunState("refused", f"{RUN}: {reason_of(error)}")
    try:
        head = _HEAD.decode(content)
        digest_now = record.digest_of(msgspec.json.decode(head.specification))
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError, UnicodeDecodeError) as error:
        return RunState("refused", f"{RUN} is damaged: {error}")
    if why := _wrong(head, folder, digest, digest_now):
        return RunState("refused", why)
    condition: Condition = head.status
    if condition == "running" and not _may_live(folder):
        condition = "interrupted"
    return RunState(condition, _last_line(head.error), head.seconds, head.steps, head.attempts, head.failures)


def _wrong(head: _Head, folder: Path, digest: str, digest_now: str) -> str:
    if head.schema > record.RECORD_SCHEMA:
        newest = f"newer than this version reads ({record.RECORD_SCHEMA})"
        return f"{RUN} is of schema {head.schema}, {newest}; update trl-suite"
    if (digest and head.digest != digest) or not folder.name.endswith(head.digest[:10]):
        return f"{RUN} is of another run ({head.digest[:10]}): was the folder copied?"
    if head.status == "waiting":
        return f"{RUN} says that it is waiting, which no run says of itself"
    if digest_now != head.digest:
        return f"{RUN} was edited: its specification is not that of its digest"
    return ""


def _may_live(folder: Path) -> bool:
    owner = lease.holder(folder)
    return owner is not None and (not owner.here or owner.alive)


def _last_line(text: str) -> str:
    return next(iter(text.strip().splitlines()[-1:]), "")
