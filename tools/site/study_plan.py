"""The study's order: which experiment is run after which, and how many steps each adds to those before it."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from trl_suite.experiment.planning import grid
from trl_suite.experiment.specification import experiment_file

STUDY = (
    "freeze-map-half-cheetah",
    "running-backwards-tuned",
    "inverted-actions-tuned",
    "identity-tuned",
    "freeze-map-walker2d",
    "severity-half-cheetah",
    "severity-walker2d",
    "off-policy",
)  # as `make study` runs them: the question first, then the controls
STEPS_PER_SECOND: Mapping[str, float] = {"ppo": 20_000, "sac": 2_700}  # on two cores; sac at 64-64
SECONDS_PER_HOUR = 3_600


class StudyShare(NamedTuple):
    """The part of the study that one experiment adds."""

    name: str
    runs: int  # that the experiment plans
    added: int  # of them, those that no experiment before it has made
    steps: int  # env steps of the added ones
    hours: float  # on two cores


def shares(folder: Path) -> list[StudyShare]:
    """Return what each experiment adds to the study, in order; those that are not in the folder are left out."""
    seen: set[str] = set()
    study_shares: list[StudyShare] = []
    for name in STUDY:
        if not (folder / name / experiment_file.EXPERIMENT_FILE).is_file():
            continue
        experiment = experiment_file.glance(folder / name)
        specs = grid.run_specs(experiment)
        added = [spec for spec in specs if spec.digest not in seen]
        seen |= {spec.digest for spec in specs}
        steps = sum(spec.steps for spec in added)
        hours = steps / STEPS_PER_SECOND[experiment.algorithm] / SECONDS_PER_HOUR
        study_shares.append(StudyShare(name, len(specs), len(added), steps, hours))
    return study_shares


def table(folder: Path) -> str:
    """Return the study's order as a table in Markdown."""
    study_shares = shares(folder)
    if not study_shares:
        return "None of its experiments is here."
    lines = ["| experiment | runs | of them new | env steps of these | hours on two cores |", "|---|--:|--:|--:|--:|"]
    for share in study_shares:
        link = f"[{share.name}]({share.name}/README.md)"
        lines.append(f"| {link} | {share.runs:,} | {share.added:,} | {share.steps:,} | {share.hours:.1f} |")
    runs, added, steps, hours = (sum(column) for column in zip(*(share[1:] for share in study_shares), strict=True))
    return "\n".join([*lines, f"| together | {runs:,} | {added:,} | {steps:,} | {hours:.1f} |"])
