"""`trl-suite train`: one policy, with a progress bar, into a policy folder."""

import signal
from collections.abc import Sequence
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from trl_suite import content, machine_resources
from trl_suite.cli.arguments import Train
from trl_suite.errors import InputError
from trl_suite.evidence.results.number_format import number
from trl_suite.experiment import policy_library
from trl_suite.experiment.policy_library import CURVE
from trl_suite.files import whole_folder
from trl_suite.terminal import Terminal, print_json
from trl_suite.training.acting.evaluation import Episode, append, mean_return
from trl_suite.training.from_scratch import run_alone
from trl_suite.training.presets import choose
from trl_suite.training.training_run import Unwatched
from trl_suite.worlds.identity import identity


def execute(arguments: Train) -> int:
    """Train, store the policy, and return the exit code."""
    folder = arguments.out or _default_folder(arguments)
    if folder.exists():
        raise InputError(f"{folder} exists already; name another folder with --out")
    if arguments.steps <= 0 or arguments.seed < 0:
        raise InputError(
            f"--steps {arguments.steps} and --seed {arguments.seed}: more than 0 steps, a seed of 0 or more"
        )
    identity(arguments.env)  # an env that does not exist is said before a bar is drawn
    console, choice = Terminal(quiet=arguments.json), choose(arguments.env, arguments.algorithm, arguments.preset)
    hyperparameters = choice.hyperparameters
    rollout = hyperparameters.rollout
    if arguments.steps < rollout:
        raise InputError(f"--steps {arguments.steps}: fewer than one rollout of {rollout:,} steps would train nothing")
    console.print(choice.note, highlight=False, soft_wrap=True)
    cores = machine_resources.idle_cores()
    console.print(f"on {cores} of {machine_resources.cores()} cores, those that are idle", highlight=False)
    with whole_folder(folder) as is_new, _Bar(console, folder / CURVE, arguments.steps) as bar:
        if not is_new:
            raise InputError(f"{folder} exists already; name another folder with --out")
        outcome = run_alone(arguments.env, choice, steps=arguments.steps, seed=arguments.seed, watcher=bar, cores=cores)
        outcome.policy.save(folder)
    training = outcome.policy.card.training
    if arguments.json:
        print_json({"policy": str(folder), "finished": outcome.finished, "training": training})
    console.print(f"{training.steps:,} steps in {training.seconds:.0f} s, return {training.return_mean:,.1f}: {folder}")
    if not outcome.finished:
        console.print("stopped before the end; the policy is the one reached so far", style="yellow")
    return 0 if outcome.finished else 130


def _default_folder(arguments: Train) -> Path:
    """Return a folder of the workspace whose name no shipped policy has, which it would hide."""
    name = policy_library.name(arguments.env, arguments.algorithm, arguments.seed)
    if (content.shipped() / "policies" / name).is_dir():
        name = f"{name}-{arguments.steps}-steps"
    return content.workspace() / "policies" / name


class _Bar(Unwatched):
    """Shows progress, keeps the curve on disk, and stops the training at Ctrl-C."""

    def __init__(self, console: Terminal, curve: Path, steps: int) -> None:
        self._curve, self._steps, self._stop = curve, steps, False
        self._progress = Progress(
            TextColumn("{task.completed:>9,.0f} / {task.total:,.0f} steps"),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[value]}"),
            console=console,
        )
        self._task = self._progress.add_task("", total=steps, value="")

    def __enter__(self) -> "_Bar":
        self._former = signal.signal(signal.SIGINT, self._interrupted)
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        signal.signal(signal.SIGINT, self._former)

    def _interrupted(self, *_: object) -> None:
        if self._stop:
            raise KeyboardInterrupt
        self._stop = True

    def evaluated(self, step: int, episodes: Sequence[Episode]) -> None:
        append(self._curve, step, episodes)
        self._progress.update(self._task, value=f"return {number(mean_return(episodes))}")

    def advanced(self, step: int) -> None:
        self._progress.update(self._task, completed=min(step, self._steps))

    def stopping(self) -> bool:
        return self._stop
