"""`trl-suite new`: a first env.toml for a robot, or the folders of an empty study."""

from pathlib import Path

import msgspec

from trl_suite import content
from trl_suite.cli.arguments import New
from trl_suite.errors import InputError
from trl_suite.files import storing, whole_folder, write_atomically
from trl_suite.terminal import Terminal, print_json
from trl_suite.worlds.new_env import NewEnv, new_env

EXPERIMENT = """# One question, and the grid of runs that answers it: methods x targets x seeds.
# `trl-suite schema experiment` has all keys; `trl-suite run experiments/first --plan` says what would be run.
question = "How much sooner is the target learned from the source's policy than from scratch?"
methods  = ["scratch", "finetune"]       # trl-suite's docs/methods.md lists all
seeds    = [0, 1, 2, 3, 4]               # a claim needs six pairs or more

[source]
env   = "half-cheetah"                   # `trl-suite envs` lists all; an env of yours lies in envs/
steps = 100_000

[target]
envs  = ["half-cheetah.gravity-1.5"]
steps = 100_000

[evaluation]
every    = 10_000                        # env steps
episodes = 5
"""


def execute(arguments: New) -> int:
    """Write the env or the study, say what comes next, and return the exit code."""
    if arguments.model is None:
        return _study(arguments)
    written = new_env(arguments.name, arguments.model)
    if arguments.json:
        print_json(msgspec.to_builtins(written, enc_hook=str))
        return 0
    terminal = Terminal()
    for line in _lines(written):
        terminal.print(line, soft_wrap=True)
    return 0


def _lines(written: NewEnv) -> list[str]:
    name, variant = written.env, next(iter(written.variants), "")
    return [
        f"{written.table}: a first table, from {written.files[0]}",
        *written.notes,
        "",
        "look at it, prove its variants, train on it:",
        f"  trl-suite show {name} -o {name}.png",
        f"  trl-suite verify {name}" if variant else f"  # no variant applies to {name} yet: add one to its table",
        f"  trl-suite train {name} --steps 100000",
    ]


def _study(arguments: New) -> int:
    """Lay out envs/, policies/ and experiments/first in a new folder of the workspace."""
    if not content.is_plain(arguments.name):
        raise InputError(f"'{arguments.name}' is no name for a folder: {content.PLAIN_RULE}")
    folder = content.workspace() / arguments.name
    content.refuse_installed(folder)
    path = folder / "experiments/first/experiment.toml"
    with whole_folder(folder) as is_new, storing(folder):
        if not is_new:
            raise InputError(f"{folder} exists already; for a robot of yours add --from robot.xml")
        for name in ("envs", "policies", "experiments/first"):
            (folder / name).mkdir(parents=True)
        write_atomically(path, EXPERIMENT.encode())
    _say_laid_out(arguments, folder, path)
    return 0


def _say_laid_out(arguments: New, folder: Path, path: Path) -> None:
    if arguments.json:
        print_json({"study": str(folder), "experiment": str(path)})
        return
    terminal = Terminal()
    terminal.print(f"{folder}: an empty study with a first experiment, {path.relative_to(folder)}", soft_wrap=True)
    terminal.print(f"  cd {folder} && trl-suite run experiments/first --plan", soft_wrap=True)
