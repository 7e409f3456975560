"""A folder for a pull request: an experiment's file, its kept results, and all of one's own that a checker needs."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import tomli_w

from trl_suite import content, files, tables
from trl_suite.errors import InputError
from trl_suite.evidence.report.results_archive import archive_results
from trl_suite.evidence.results import experiment_results
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.experiment.reuse.spot_check import CheckedRun
from trl_suite.experiment.specification.experiment_file import EXPERIMENT_FILE
from trl_suite.worlds.address import FOREIGN
from trl_suite.worlds.identity import robot_of

SUBMISSION_FILE = "submission.toml"
MANIFEST_FILE = "manifest.json"  # file -> sha256; `check` refuses a submission that differs from it
CHECK_FILE = "check.json"  # the verdicts of a checker, who writes them
RESULTS_FOLDER = "results"
README_FILE = "README.md"
AUTHOR_CHARACTERS_MAX = 120
JSON_BYTES_MAX = 4_000_000  # of a manifest, or of a file of verdicts
T = TypeVar("T")
Mark = Literal["verified", "consistent", "differs", "not checked"]


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """The head of a submission, as `submission.toml` has it."""

    name: str
    author: str
    question: str
    link: str = ""  # of a paper or a page
    commit: str = ""  # of the suite that made the runs
    runs: int = 0  # that are done
    hours: float = 0.0  # of wall time that all runs took
    versions: dict[str, str] = {}
    machines: tuple[str, ...] = ()


def lay_out(runs: Path, into: Path, *, author: str, link: str = "", experiment: Path | None = None) -> Path:
    """Write the folder of a submission and return it.

    Args:
        runs: folder of the experiment's runs, or kept results.
        into: folder to make; it may not be there yet.
        author: who answers for the results.
        link: of a paper or a page.
        experiment: folder of its `experiment.toml`; where None, beside the runs or by its name in the workspace.

    Raises:
        InputError: no run is done, the folder is there, or the experiment's file or something of one's own is missing.
        StorageError: it cannot be written.
    """
    if into.exists():
        raise InputError(f"{into}: is there already; name another folder with -o")
    if not author.strip() or len(author) > AUTHOR_CHARACTERS_MAX:
        raise InputError(f"--author: a name of 1 to {AUTHOR_CHARACTERS_MAX} characters expected")
    results = experiment_results.load(runs)
    head = _head(results, author.strip(), link.strip())
    if not head.runs:
        raise InputError(f"{runs}: no run is done, so that there is nothing to submit")
    definition = _definition(results, experiment)
    folders = [*_own("envs", _robots(results)), *_own("policies", _policies(results))]
    with files.storing(into):
        into.mkdir(parents=True)
        shutil.copyfile(definition, into / EXPERIMENT_FILE)
        archive_results(runs, into / RESULTS_FOLDER)
        for folder in folders:
            shutil.copytree(folder, into / folder.parent.name / folder.name)
        (into / SUBMISSION_FILE).write_text(tomli_w.dumps(msgspec.to_builtins(head)), encoding="utf-8")
        (into / README_FILE).write_text(_readme(head), encoding="utf-8")
        manifest = {path.relative_to(into).as_posix(): _sha256(path) for path in _all_files(into)}
        (into / MANIFEST_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
    return into


def is_submission(folder: Path) -> bool:
    """Return whether a folder is one that `lay_out` made."""
    return (folder / SUBMISSION_FILE).is_file()


def opened(folder: Path) -> Path:
    """Return the results of a submission whose files are those of its manifest; its own envs are found from now on.

    Raises:
        InputError: a file is missing, was changed, or is not in the manifest.
    """
    manifest = _json(folder / MANIFEST_FILE, dict[str, str])
    present = {path.relative_to(folder).as_posix(): path for path in _all_files(folder)}
    present = {name: path for name, path in present.items() if name not in (MANIFEST_FILE, CHECK_FILE)}
    if missing := sorted(manifest.keys() ^ present.keys()):
        raise InputError(f"{folder}: {missing[0]} stands in the manifest or in the folder, but not in both of them")
    for name, path in present.items():
        if _sha256(path) != manifest[name]:
            raise InputError(f"{path}: was changed: its sha256 is not that of {MANIFEST_FILE}")
    content.set_workspace(folder)
    return folder / RESULTS_FOLDER


def mark(checked: Sequence[CheckedRun]) -> Mark:
    """Return the mark of all runs that were made again."""
    verdicts = {run.verdict for run in checked}
    if not verdicts:
        return "not checked"
    return "differs" if "differs" in verdicts else "consistent" if "consistent" in verdicts else "verified"


def write_mark(folder: Path, checked: Sequence[CheckedRun]) -> None:
    """Keep the verdicts beside a submission; folders of the checker's machine are left out of them."""
    local = [
        msgspec.structs.replace(run, repetition=msgspec.structs.replace(run.repetition, run=run.run, repetition=""))
        for run in checked
    ]
    with files.storing(folder):
        files.write_atomically(folder / CHECK_FILE, msgspec.json.format(msgspec.json.encode(local), indent=2))


def read_mark(folder: Path) -> tuple[Mark, int]:
    """Return the mark of a submission, and how many of its runs were made again.

    Raises:
        InputError: the file of verdicts cannot be read.
    """
    path = folder / CHECK_FILE
    if not path.is_file():
        return "not checked", 0
    checked = _json(path, tuple[CheckedRun, ...])
    return mark(checked), len(checked)


def read_head(folder: Path) -> Submission:
    """Return the head of a submission.

    Raises:
        InputError: its file cannot be read, or has other keys.
    """
    path = folder / SUBMISSION_FILE
    return tables.convert(tables.load(path), Submission, str(path))


def _head(results: Results, author: str, link: str) -> Submission:
    done = [m.run for m in results.recorded if m.run is not None and m.run.status == "done"]
    commits = Counter(run.commit for run in done if run.commit)
    machines = dict.fromkeys(", ".join(run.machine.values()) for run in done if run.machine)
    return Submission(
        name=results.plan.name,
        author=author,
        question=results.plan.question,
        link=link,
        commit=next(iter(commits), ""),
        runs=len(done),
        hours=round(sum(run.seconds for run in done) / 3600, 2),
        versions=dict(done[-1].versions) if done else {},
        machines=tuple(machines),
    )


def _definition(results: Results, experiment: Path | None) -> Path:
    beside = results.folder / EXPERIMENT_FILE
    folder = experiment or (results.folder if beside.is_file() else content.find("experiments", results.plan.name))
    path = folder if folder.suffix == ".toml" else folder / EXPERIMENT_FILE
    if not path.is_file():
        raise InputError(f"{path}: no such file; name the folder of {EXPERIMENT_FILE} with --experiment")
    return path


def _robots(results: Results) -> set[str]:
    envs = {planned.env for planned in results.plan.runs}
    return {robot_of(env) for env in envs if not env.startswith(FOREIGN)}


def _policies(results: Results) -> set[str]:
    """Return the names of the policies that runs start from without having trained them."""
    tables_ = [m.run.specification.get("policy") for m in results.recorded if m.run is not None]
    return {str(table["name"]) for table in tables_ if isinstance(table, dict) and "name" in table}


def _own(kind: content.Kind, names: Iterable[str]) -> list[Path]:
    """Return the folders of content that the suite does not ship."""
    folders = [content.find(kind, name) for name in sorted(names)]
    return [folder for folder in folders if folder.resolve().parent != (content.shipped() / kind).resolve()]


def _all_files(folder: Path) -> list[Path]:
    """Return every file of a submission, sorted; a link is refused, since it may lead anywhere."""
    paths = sorted(folder.rglob("*"))
    if links := [path for path in paths if path.is_symlink()]:
        raise InputError(f"{links[0]}: is a link; a submission holds files alone")
    return [path for path in paths if path.is_file()]


def _json(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(files.read_limited(path, JSON_BYTES_MAX), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: {error}") from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _readme(head: Submission) -> str:
    facts: dict[str, Any] = {
        "author": head.author,
        "link": head.link,
        "runs": f"{head.runs} done, {head.hours:g} hours",
        "made with": ", ".join(f"{name} {version}" for name, version in head.versions.items()),
        "machines": "; ".join(head.machines),
        "commit": head.commit,
    }
    lines = [f"- {name}: {value}" for name, value in facts.items() if value]
    return (
        f"# {head.name}\n\n{head.question}\n\n" + "\n".join(lines) + "\n\n"
        "To check: `trl-suite check FOLDER --runs 3 --mark` with this folder, which makes three runs again and keeps "
        "the verdicts.\n\nTo read: `trl-suite report FOLDER/results`.\n"
    )
