"""`trl-suite status`: how far an experiment is."""

from collections import Counter

from trl_suite.cli.arguments import Status
from trl_suite.errors import InputError
from trl_suite.evidence.reading import run_archive
from trl_suite.experiment.running.overview import Overview, Running, overview
from trl_suite.terminal import Terminal, print_json

SHOWN = 10  # of each kind; --json has them all


def execute(arguments: Status) -> int:
    """Print it and return 0.

    Raises:
        InputError: the folder holds no experiment, or results that were kept, whose runs are over.
    """
    if (arguments.runs / run_archive.ARCHIVE_FILE).is_file():
        raise InputError(f"{arguments.runs}: results that were kept; `trl-suite report {arguments.runs}` shows them")
    current = overview(arguments.runs)
    if arguments.json:
        print_json(current)
        return 0
    console = Terminal()
    for line in _lines(current):
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    return 0


def _lines(current: Overview) -> list[str]:
    total = sum(current.counts.values())
    counts = ", ".join(f"{count:,} {name}" for name, count in current.counts.items() if count)
    left = "" if current.seconds_left is None else f"; about {duration(current.seconds_left)} left"
    lines = [current.question, f"{total:,} runs: {counts}{left}"]
    lines += _some("running", [_running(run) for run in current.running])
    lines += _some("failed", [f"{name}: {why}" for name, why in current.failed.items()])
    lines += _some("left alone", [f"{name}: {why}" for name, why in current.refused.items()])
    versions = Counter(current.earlier.values())
    if versions:
        lines.append(f"the plan is version {current.version} of the experiment file; runs that it no longer wants:")
        lines += [f"  {count:,} of {_version(version)}" for version, count in sorted(versions.items())]
    return lines


def _some(kind: str, lines: list[str]) -> list[str]:
    if not lines:
        return []
    more = [f"  and {len(lines) - SHOWN:,} more"] if len(lines) > SHOWN else []
    return [f"{kind}:", *(f"  {line}" for line in lines[:SHOWN]), *more]


def _running(run: Running) -> str:
    speed = "" if run.speed is None else f", {run.speed:,.0f}/s"
    return f"{run.run}  {run.step:,} / {run.steps:,} steps{speed}, on {run.host} since {run.since}"


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
