"""`trl-suite status`: how far an experiment is."""

from collections import Counter

import msgspec
from rich.console import Console

from trl_suite.cli.arguments import Status
from trl_suite.errors import InputError
from trl_suite.evidence.reading import run_archive
from trl_suite.experiment.running.overview import Overview, Running, overview

SHOWN = 10  # of each kind; --json has them all


def execute(arguments: Status) -> int:
    """Print it and return 0.

    Raises:
        InputError: the folder holds no experiment, or results that were kept, whose runs are over.
    """
    if (arguments.runs / run_archive.NAME).is_file():
        raise InputError(f"{arguments.runs}: results that were kept; `trl-suite report {arguments.runs}` shows them")
    found = overview(arguments.runs)
    if arguments.json:
        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
        return 0
    console = Console()
    for line in _lines(found):
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    return 0


def _lines(found: Overview) -> list[str]:
    total = sum(found.counts.values())
    counts = ", ".join(f"{count:,} {name}" for name, count in found.counts.items() if count)
    left = "" if found.seconds_left is None else f"; about {duration(found.seconds_left)} left"
    lines = [found.question, f"{total:,} runs: {counts}{left}"]
    lines += _some("running", [_running(one) for one in found.running])
    lines += _some("failed", [f"{name}: {why}" for name, why in found.failed.items()])
    lines += _some("left alone", [f"{name}: {why}" for name, why in found.refused.items()])
    versions = Counter(found.earlier.values())
    if versions:
        lines.append(f"the plan is version {found.version} of the experiment file; runs that it no longer wants:")
        lines += [f"  {count:,} of {_version(version)}" for version, count in sorted(versions.items())]
    return lines


def _some(kind: str, lines: list[str]) -> list[str]:
    if not lines:
        return []
    more = [f"  and {len(lines) - SHOWN:,} more"] if len(lines) > SHOWN else []
    return [f"{kind}:", *(f"  {line}" for line in lines[:SHOWN]), *more]


def _running(one: Running) -> str:
    speed = "" if one.speed is None else f", {one.speed:,.0f}/s"
    return f"{one.run}  {one.step:,} / {one.steps:,} steps{speed}, on {one.host} since {one.since}"


def _version(version: int) -> str:
    return f"version {version}" if version else "no version known here"


def duration(seconds: float) -> str:
    """Return a duration as people say it: `45 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    if minutes < 2:
        return f"{seconds:.0f} s"
    if hours < 2:
        return f"{minutes:.0f} min"
    if days < 2:
        return f"{int(hours)} h {int(minutes) % 60} min"
    return f"{int(days)} d {int(hours) % 24} h"
