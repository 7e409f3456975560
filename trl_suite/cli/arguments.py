"""The arguments of each verb. Nothing heavy is imported here, so that `--help` answers at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

import tyro

from trl_suite.algorithms.hyperparameters import Activation
from trl_suite.algorithms.registry import Algorithm
from trl_suite.errors import InputError
from trl_suite.networks import alias_file

Positional = tyro.conf.Positional
Words = Annotated[tuple[tuple[str, ...], ...], tyro.conf.UseAppendAction]
"""Words after a flag that may stand several times: `--set a=1 b=2` and `--set a=1 --set b=2` are the same."""


def _named(name: str) -> object:
    """Return the mark by which help and errors call a positional argument by its name, and not by its type."""
    return tyro.conf.arg(metavar=name)


@dataclass(frozen=True, kw_only=True)
class Verb:
    """Arguments that all verbs take."""

    workspace: Path | None = None
    """Folder with envs/, policies/ and experiments/ of your own; the working directory where not given."""
    json: bool = False
    """Print JSON, for programs."""


@dataclass(frozen=True, kw_only=True)
class Envs(Verb):
    """List robots and their variants; of one robot its model and reward too."""

    env: Annotated[Positional[str], _named("[ENV]")] = ""
    """The env, or an address: what a variant changes; all envs where not given."""


@dataclass(frozen=True, kw_only=True)
class Policies(Verb):
    """List trained policies, shipped and in the workspace."""


@dataclass(frozen=True, kw_only=True)
class Inspect(Verb):
    """Show a policy's card, its slots with their units, and its components."""

    policy: Annotated[Positional[str], _named("POLICY")]
    """Name or folder of a policy, hf://user/name, or a folder or zip whose name tells its env."""


@dataclass(frozen=True, kw_only=True)
class Match(Verb):
    """Show which slots and components of a policy would be copied into an env, before any training."""

    policy: Annotated[Positional[str], _named("POLICY")]
    """As for inspect, or policy.onnx."""
    env: Annotated[Positional[str], _named("ENV")]
    """The target: walker2d, half-cheetah.gravity-1.5, gymnasium:Ant-v5."""
    method: str = ""
    """What is copied and frozen; where not given, finetune, and actor-only of an actor alone."""
    alias: Words = ()
    """Names that differ, TARGET=SOURCE: thigh_left_joint=thigh_joint; or a file of them: names.toml."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Picture to write: match.png, match.svg."""


@dataclass(frozen=True, kw_only=True)
class Probe(Verb):
    """Say before any training how well a policy may transfer to an env, and which method the rules name."""

    policy: Annotated[Positional[str], _named("POLICY")]
    """As for inspect."""
    env: Annotated[Positional[str], _named("ENV")]
    """The target: walker2d, half-cheetah.gravity-1.5, gymnasium:Ant-v5."""
    variant: Annotated[Positional[str], _named("[VARIANT]")] = ""
    """One of its variants."""
    alias: Words = ()
    """Names that differ, TARGET=SOURCE: thigh_left_joint=thigh_joint; or a file of them: names.toml."""
    episodes: int = 10
    """For each return."""
    reference: float | None = None
    """Return that scores 1 on the target; the policy's own at home where not given."""


@dataclass(frozen=True, kw_only=True)
class Import(Verb):
    """Make a policy folder of an ONNX file, an SB3 zip, or each source of an experiment; nothing is executed."""

    zip: Annotated[Positional[str], _named("FILE")]
    """policy.onnx, a zip, a folder of RL Zoo or the hub, hf://user/name, or runs: runs/sources-running."""
    env: str | None = None
    """What it was trained in: half-cheetah, gymnasium:Ant-v5; where the names around the zip do not tell it."""
    statistics: Path | None = None
    """The VecNormalize file; looked for beside the zip where not given."""
    algorithm: Algorithm | None = None
    """Where the zip does not tell it."""
    activation: Activation | None = None
    """Where the zip does not tell it."""
    alias: Words = ()
    """ONNX: names that differ, ENV=FILE: thigh_joint=FL_thigh, or a file of them: names.toml."""
    out: Path | None = None
    """Policy folder to make; policies/NAME in the workspace where not given. Of runs: the folder for all of them."""


@dataclass(frozen=True, kw_only=True)
class Export(Verb):
    """Write a policy as an ONNX graph, or as a zip that SB3 opens with its VecNormalize file beside it."""

    policy: Annotated[Positional[str], _named("POLICY")]
    """Name or folder of a policy."""
    out: Annotated[Positional[Path], _named("OUT")]
    """The file to make: OUT.onnx for a robot's controller, OUT.zip for SB3."""
    stochastic: bool = False
    """ONNX: a second input, noise (standard normal), draws the action."""


@dataclass(frozen=True, kw_only=True)
class Push(Verb):
    """Upload a policy with a model card to the Hugging Face hub, where load_policy("hf://user/name") finds it."""

    policy: Annotated[Positional[str], _named("POLICY")]
    """Name or folder of a policy."""
    repository: Annotated[Positional[str], _named("REPOSITORY")]
    """Where to: user/name. It is made where it is not there."""
    private: bool = False
    """Make it a private one."""
    dry: Path | None = None
    """Write what would be uploaded into this folder, and upload nothing."""


@dataclass(frozen=True, kw_only=True)
class Train(Verb):
    """Train a policy and store it as a folder."""

    env: Annotated[Positional[str], _named("ENV")]
    """What to train on: half-cheetah, hopper.gravity-1.5, gymnasium:Ant-v5."""
    algorithm: Algorithm = "ppo"
    """The learning algorithm."""
    steps: int = 200_000
    """Budget in env steps."""
    seed: int = 0
    """Seed of the network, the worlds and the noise."""
    preset: Literal["tuned", "sb3"] = "tuned"
    """The robot's tuned hyperparameters, where it has some, or SB3's defaults."""
    out: Path | None = None
    """Policy folder to make; policies/ENV-ALGORITHM-seed-SEED in the workspace where not given."""


@dataclass(frozen=True, kw_only=True)
class Run(Verb):
    """Make all runs of an experiment that are not done, then its report."""

    experiment: Annotated[Positional[str], _named("EXPERIMENT")]
    """Folder of experiment.toml, or the name of a shipped one."""
    runs: Path = Path("runs")
    """Where run folders are kept: RUNS/EXPERIMENT/..."""
    workers: int | None = None
    """Runs at a time; as many as there are cores where not given."""
    on: Literal["here", "local", "ray", "slurm"] = "local"
    """Where: in this process, in processes of this machine, on a Ray cluster, or through Slurm."""
    address: str | None = None
    """Of the Ray cluster; one is started on this machine where not given."""
    plan: bool = False
    """Say which runs train together, where and why, and make none."""
    mix_versions: bool = False
    """Go on with runs that were begun with other versions of torch and the like: their results are of neither."""
    set: Words = ()
    """Values in place of the file's, KEY=VALUE: target.steps=50_000 ppo.hidden=[64,64] algorithm=sac."""
    seeds: str | None = None
    """Seeds in place of the file's: 0:5 (0 to 4), 0,3,7 or 4."""
    reuse: Annotated[tuple[tuple[Path, ...], ...], tyro.conf.UseAppendAction] = ()
    """Experiments whose finished runs are taken where they are the same: runs/NAME or experiments/NAME/results."""
    quiet: bool = False
    """Show nothing until the table at the end."""


@dataclass(frozen=True, kw_only=True)
class Tune(Verb):
    """Search the hyperparameters of scratch and of each method, as [tune] of the experiment says."""

    experiment: Annotated[Positional[str], _named("EXPERIMENT")]
    """Folder of experiment.toml, or the name of a shipped one."""
    runs: Path = Path("runs")
    """Where the trials' run folders are kept: RUNS/EXPERIMENT/tuning/..."""
    workers: int | None = None
    """Cohorts at a time; as many as there are cores where not given."""
    on: Literal["here", "local"] = "local"
    """Where: in this process, or in processes of this machine."""
    quiet: bool = False
    """Show nothing until the table at the end."""


@dataclass(frozen=True, kw_only=True)
class Reference(Verb):
    """Keep an experiment's scratch runs as the reference of their target: what scores 0 and 1 there from now on."""

    runs: Positional[Path]
    """Folder of the experiment's runs, or its kept results; ten seeds or more of scratch alone."""
    out: Path | None = None
    """Folder to write to; references/ in the workspace where not given."""


@dataclass(frozen=True, kw_only=True)
class Status(Verb):
    """Say how far an experiment is: done, running, failed, interrupted and waiting runs, and the time left."""

    runs: Annotated[Positional[Path], _named("RUNS")]
    """Folder of the experiment's runs: runs/quickstart."""


@dataclass(frozen=True, kw_only=True)
class Rerun(Verb):
    """Make one recorded run again in a fresh place, and compare."""

    run: Annotated[Positional[Path], _named("RUN")]
    """Folder of the run: runs/quickstart/half-cheetah/source/seed-0--2bb5f1d472."""
    out: Path | None = None
    """Folder to make it in; reruns/ beside the experiment's folder where not given."""


@dataclass(frozen=True, kw_only=True)
class Check(Verb):
    """Make some runs of an archive again, drawn at random, and say of each: verified, consistent or different."""

    results: Annotated[Positional[Path], _named("RESULTS")]
    """Folder of an experiment's runs, of kept results, or of a submission: experiments/quickstart/results."""
    runs: int = 3
    """How many are made again."""
    seed: int = 0
    """Of the draw."""
    mark: bool = False
    """Keep the verdicts in a submission's check.json, for the page of results by others."""
    out: Path | None = None
    """Folder to make them in; a temporary one where not given."""


@dataclass(frozen=True, kw_only=True)
class Submit(Verb):
    """Lay out a folder for a pull request: file, kept results, robots and policies of your own, hashes."""

    runs: Annotated[Positional[Path], _named("RUNS")]
    """Folder of the experiment's runs, or kept results: runs/mine."""
    author: str
    """Who answers for the results."""
    link: str = ""
    """Of a paper or a page."""
    experiment: Path | None = None
    """Folder of experiment.toml; where not given, beside the runs, or that of the experiment's name."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Folder to make; submissions/NAME where not given."""


@dataclass(frozen=True, kw_only=True)
class Report(Verb):
    """Make the report of an experiment again, complete or not."""

    runs: Annotated[Positional[Path], _named("RUNS")]
    """Folder of the experiment's runs: runs/quickstart."""
    keep: Path | None = None
    """Copy there what is worth committing: records, curves, report and pictures, without weights and events."""
    out: Path | None = None
    """Write the report there too: .html, .md, .csv, .tex, .parquet, or a folder of all of them."""
    tensorboard: bool = False
    """Write each method's mean, interval and measures for TensorBoard, beside the runs."""


@dataclass(frozen=True, kw_only=True)
class Archives(Verb):
    """Fetch archives of kept results that are too large for a repository, checked by their sha256."""

    action: Annotated[Positional[Literal["fetch"]], _named("fetch")]
    """The one thing to do."""
    results: Annotated[Positional[tuple[Path, ...]], _named("RESULTS")]
    """Folders with an archive.json: experiments/NAME/results."""


@dataclass(frozen=True, kw_only=True)
class Browse(Verb):
    """Write one page, which needs no server, to filter, draw and compare the runs of several experiments."""

    runs: Annotated[Positional[tuple[Path, ...]], _named("RUNS")]
    """Folders of experiments' runs, or of kept results: runs/quickstart experiments/methods/results."""
    out: Path = Path("browse.html")
    """The page to write."""


@dataclass(frozen=True, kw_only=True)
class Figure(Verb):
    """Write one picture for a paper, its fonts embedded, and beside it a LaTeX table of its numbers."""

    runs: Annotated[Positional[Path], _named("RUNS")]
    """Folder of an experiment's runs, or its kept results: experiments/quickstart/results."""
    kind: str = "curves"
    """curves, speed-up, survival, components, networks; forest, matrix, profile, map, severity, budget, and more."""
    env: str | None = None
    """The target, of curves and the like where there are several."""
    width: float = 5.5
    """Inches; matrices and maps are as wide as their columns need."""
    read_at: tuple[int, ...] = ()
    """Evaluation steps, of budget and finetune-budget; those of the experiment's file where not given."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The picture to write: .pdf, .svg, .eps, or .png; fig.pdf has fig.tex beside it."""


@dataclass(frozen=True, kw_only=True)
class Film(Verb):
    """Show the source at home and at step 0, the best method and scratch at the end, in motion, side by side."""

    runs: Annotated[Positional[Path], _named("RUNS")]
    """Folder of the experiment's runs: runs/quickstart."""
    env: str = ""
    """The target; the first where not given."""
    seconds: float = 3.0
    """How long the loop is."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """The film to write: .gif, .png (animated), .webp, .mp4; RUNS/film.gif, which the report shows, where not given."""


@dataclass(frozen=True, kw_only=True)
class Watch(Verb):
    """Watch a policy: in a window where there is a display, and as a film otherwise."""

    policy: Annotated[Positional[str], _named("POLICY")]
    """As for inspect."""
    env: str = ""
    """What to watch it on: walker2d, half-cheetah.gravity-1.5; what it was trained on where not given."""
    variant: str = ""
    """One of its variants: gravity-1.5."""
    side_by_side: bool = False
    """Film it on the env that it was trained on, and beside it on this one."""
    alias: Words = ()
    """Names that differ, TARGET=SOURCE: thigh_left_joint=thigh_joint."""
    seconds: float = 4.0
    """How long the film is."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """The film to write: .gif, .png (animated), .webp, .mp4; POLICY-on-ENV.gif where not given and no display."""


@dataclass(frozen=True, kw_only=True)
class Doctor(Verb):
    """Say what is installed, what the machine has, and what would not work."""


@dataclass(frozen=True, kw_only=True)
class Experiments(Verb):
    """List experiments, with what each asks and how large it is."""


@dataclass(frozen=True, kw_only=True)
class Verify(Verb):
    """Prove that variants are real: compute their certificates, print them and store them beside env.toml."""

    env: Annotated[Positional[str], _named("[ENV]")] = ""
    """The env, or a variant's address; all of them where not given."""
    variant: Annotated[Positional[str], _named("[VARIANT]")] = ""
    """The variant; all of the env's where not given."""
    missing: bool = False
    """Only those without a certificate of the world that ships, or with new neighbours."""
    dry: bool = False
    """Compute and print, and store nothing."""


@dataclass(frozen=True, kw_only=True)
class Warm(Verb):
    """Compile Warp's kernels of robots beforehand, so that no run on a GPU waits for it; needs no GPU."""

    robots: Positional[tuple[str, ...]]
    """The robots: half-cheetah ant; variants that differ in shapes have kernels of their own: hopper.leg-1.5."""
    arch: int = 0
    """The kind of GPU: 80 is A100's, 90 H100's and H200's, 100 B200's; that of the GPU here where not given."""
    json: bool = False
    """Print JSON."""


@dataclass(frozen=True, kw_only=True)
class Identify(Verb):
    """Fit a variant to a log of a real or simulated robot's states and controls, with intervals and a certificate."""

    log: Annotated[Positional[Path], _named("LOG")]
    """CSV or npz: time (s), the position and velocity of every joint and the controls, by the names of the slots."""
    env: Annotated[Positional[str], _named("ENV")]
    """The env whose variant is measured."""
    fit: tuple[str, ...]
    """Numbers to fit: damping armature frictionloss stiffness mass gear; or one element's: damping:thigh_joint."""
    name: str = "measured"
    """Name of the variant."""
    dry: bool = False
    """Print, and write nothing."""


@dataclass(frozen=True, kw_only=True)
class Show(Verb):
    """Draw an env and its variant side by side."""

    env: Annotated[Positional[str], _named("ENV")]
    """The env, or a whole address: half-cheetah.gravity-1.5, hopper?gravity=0.5."""
    variant: Annotated[Positional[str], _named("[VARIANT]")] = ""
    """One of its variants."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The picture to write, a .png."""
    steps: int = 0
    """Draw the worlds after so many steps without control."""


@dataclass(frozen=True, kw_only=True)
class New(Verb):
    """Begin: write a first env.toml for a robot of yours, or lay out an empty study."""

    name: Annotated[Positional[str], _named("NAME")]
    """Of the env, envs/NAME in the workspace; without --from, of the study's folder."""
    model: Annotated[Path | None, tyro.conf.arg(name="from", metavar="ROBOT.XML")] = None
    """The robot's MJCF; it is copied with the files that it needs, and the table is written from it."""


@dataclass(frozen=True, kw_only=True)
class Schema(Verb):
    """Print the JSON schema of a table, by which an editor completes and checks it."""

    table: Annotated[Positional[Literal["env", "experiment"]], _named("[TABLE]")] = "env"
    """env for env.toml, experiment for experiment.toml."""


def aliases(pairs: Sequence[Sequence[str]]) -> dict[str, str]:
    """Return the aliases that `--alias` asked for: target -> source.

    Raises:
        InputError: one is not TARGET=SOURCE, or a file of aliases cannot be read.
    """
    sources: dict[str, str] = {}
    for text in chain.from_iterable(pairs):
        if text.endswith(alias_file.ALIAS_SUFFIX) and "=" not in text:
            sources |= alias_file.read(Path(text))
            continue
        target, equals, source = text.partition("=")
        if not (target and equals and source):
            raise InputError(f"--alias {text}: TARGET=SOURCE (thigh_left_joint=thigh_joint) or names.toml expected")
        if target in sources:
            raise InputError(f"--alias {text}: {target} stands for {sources[target]} already")
        sources[target] = source
    return sources


Arguments = (
    Annotated[Envs, tyro.conf.subcommand("envs")]
    | Annotated[Verify, tyro.conf.subcommand("verify")]
    | Annotated[Warm, tyro.conf.subcommand("warm")]
    | Annotated[Identify, tyro.conf.subcommand("identify")]
    | Annotated[Show, tyro.conf.subcommand("show")]
    | Annotated[Policies, tyro.conf.subcommand("policies")]
    | Annotated[Inspect, tyro.conf.subcommand("inspect")]
    | Annotated[Match, tyro.conf.subcommand("match")]
    | Annotated[Probe, tyro.conf.subcommand("probe")]
    | Annotated[Import, tyro.conf.subcommand("import")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Push, tyro.conf.subcommand("push")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Experiments, tyro.conf.subcommand("experiments")]
    | Annotated[Run, tyro.conf.subcommand("run")]
    | Annotated[Reference, tyro.conf.subcommand("reference")]
    | Annotated[Tune, tyro.conf.subcommand("tune")]
    | Annotated[Status, tyro.conf.subcommand("status")]
    | Annotated[Rerun, tyro.conf.subcommand("rerun")]
    | Annotated[Check, tyro.conf.subcommand("check")]
    | Annotated[Submit, tyro.conf.subcommand("submit")]
    | Annotated[Report, tyro.conf.subcommand("report")]
    | Annotated[Archives, tyro.conf.subcommand("results")]
    | Annotated[Browse, tyro.conf.subcommand("browse")]
    | Annotated[Figure, tyro.conf.subcommand("figure")]
    | Annotated[Film, tyro.conf.subcommand("film")]
    | Annotated[Watch, tyro.conf.subcommand("watch")]
    | Annotated[New, tyro.conf.subcommand("new")]
    | Annotated[Schema, tyro.conf.subcommand("schema")]
    | Annotated[Doctor, tyro.conf.subcommand("doctor")]
)
