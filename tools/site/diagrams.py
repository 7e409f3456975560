"""The diagrams of docs/: `python -m tools.site.diagrams` writes them into docs/images/, a test compares."""

from html import escape
from pathlib import Path
from typing import NamedTuple

IMAGES = Path(__file__).parents[2] / "docs/images"
WIDTH, HEIGHT, GAP, LEFT = 460, 46, 22, 20  # of a box, the way to the next one, and the margin, in pixels


class Stage(NamedTuple):
    """A box of a diagram."""

    action: str  # what happens there
    file: str  # where it stands, below trl_suite/
    result: str = ""  # what goes on to the next one


RUN = (
    Stage("one file is read and checked", "experiment/specification/experiment_file.py", "Experiment"),
    Stage("methods x targets x seeds, each with a digest", "experiment/planning/grid.py", "planned runs"),
    Stage("runs that may train together are put together", "experiment/planning/cohort_keys.py", "cohorts"),
    Stage("a free process takes a cohort's runs, each by its lease", "experiment/running/scheduler.py", "runs"),
    Stage("the source policy is read, the engine chosen", "experiment/running/worker.py", "TrainingRun"),
    Stage("components are matched by name, copied or left fresh", "mechanisms/copy.py", "record of the transplant"),
    Stage("what the method freezes is sealed by a hash", "mechanisms/freeze_schedule.py", "Freeze, before"),
    Stage("all members collect, learn and are measured", "training/cohort/cohort_training.py", "rollouts"),
    Stage("a mask leaves frozen parts out of the gradient", "training/cohort/learning/ppo_update.py", "gradient"),
    Stage("Adam moves what learns, and nothing else", "training/cohort/stacked/adam.py", "new parameters"),
    Stage("at the end the hashes are compared", "mechanisms/freeze_schedule.py", "Freeze, after"),
    Stage("policy, curve and record go to disk", "experiment/running/run_folder.py", "run.json"),
)
UPDATE = (
    Stage("all members act, and their envs step as one batch", "training/cohort/collecting/rollout.py", "rollout"),
    Stage("advantages, and minibatches of each member's own", "training/cohort/learning/on_policy.py", "minibatch"),
    Stage("one batched product for each layer", "training/cohort/stacked/network.py", "ratio, value"),
    Stage("the clipped loss, its gradient written out, the mask", "training/cohort/learning/ppo_update.py", "gradient"),
    Stage("what learns moves, at its own rate", "training/cohort/stacked/adam.py", "parameters"),
    Stage("named components of each member again", "training/cohort/stacked/stack.py"),
)
DIAGRAMS = {"run": RUN, "update": UPDATE}


def svg(stages: tuple[Stage, ...], title: str) -> str:
    """A column of boxes, each with its action and its file, and on the arrows what goes on."""
    step = HEIGHT + GAP
    total = len(stages) * step - GAP + 2 * LEFT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + 2 * LEFT} {total}" role="img"'
        f' font-family="sans-serif" aria-label="{escape(title)}">',
        f'<rect width="{WIDTH + 2 * LEFT}" height="{total}" fill="#ffffff"/>',
    ]
    for number, stage in enumerate(stages):
        top, middle = LEFT + number * step, LEFT + WIDTH // 2
        lines += [
            f'<rect x="{LEFT}" y="{top}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#eef3fa" stroke="#4c72b0"/>',
            f'<text x="{middle}" y="{top + 19}" text-anchor="middle" font-size="14">{escape(stage.action)}</text>',
            f'<text x="{middle}" y="{top + 37}" text-anchor="middle" font-size="12" fill="#444"'
            f' font-family="monospace">{escape(stage.file)}</text>',
        ]
        if number < len(stages) - 1:
            end, foot = top + step, top + HEIGHT + 15
            lines += [
                f'<path d="M{middle} {top + HEIGHT} V{end - 2} m-4 -6 l4 6 l4 -6" fill="none" stroke="#4c72b0"/>',
                f'<text x="{middle + 10}" y="{foot}" font-size="11" fill="#444">{escape(stage.result)}</text>',
            ]
    return "\n".join([*lines, "</svg>", ""])


def pictures() -> dict[str, str]:
    """All diagrams, by their file's name."""
    return {f"{name}.svg": svg(stages, f"The way of one {name}") for name, stages in DIAGRAMS.items()}


if __name__ == "__main__":
    for file, text in pictures().items():
        (IMAGES / file).write_text(text, encoding="utf-8")
