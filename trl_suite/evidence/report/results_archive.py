"""Facts of an experiment that are worth committing: the plan, the probes and every run's records, in one archive.

Reports, pictures and tables are views of these and made again by `trl-suite report`; one small summary stands beside.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from trl_suite.errors import InputError
from trl_suite.evidence.reading import archive_download, run_archive
from trl_suite.evidence.reading.run_archive import Files
from trl_suite.evidence.reading.run_records import files, is_inside
from trl_suite.evidence.report import table_files
from trl_suite.evidence.results import film_cast, probe_prediction
from trl_suite.evidence.results.experiment_results import Results, load
from trl_suite.files import storing, write_atomically
from trl_suite.record import Plan, encode

COPIED = (probe_prediction.PROBES_FILE, film_cast.FILM_FILE)
SUMMARY = "summary.csv"  # a line for each env and method: what is claimed, and of which numbers


def archive_results(runs: Path, into: Path) -> Path:
    """Copy probes there, put plan and records into one archive, write its head and the summary, and return the folder.

    The head is `plan.json` without the list of runs, which is long and stands in the archive.

    An archived experiment can be reported again: `into` is an experiment's folder like `runs`.

    Raises:
        InputError: `runs` holds no plan that can be read, or is the folder to archive in.
        StorageError: the folder cannot be written.
    """
    if into.resolve() == runs.resolve():
        raise InputError(f"{into}: results are kept beside their runs; name another folder: experiments/NAME/results")
    results = load(runs)
    with storing(into):
        into.mkdir(parents=True, exist_ok=True)
        for name in COPIED:
            (into / name).unlink(missing_ok=True)
            if (runs / name).is_file():
                shutil.copyfile(runs / name, into / name)
        _copy_diffs(runs, into, results)
        recorded = list(_records(files(runs), results.plan))
        run_archive.write(into / run_archive.ARCHIVE_FILE, [(run_archive.PLAN_FILE, encode(results.plan)), *recorded])
        (into / run_archive.PLAN_FILE).write_bytes(encode(msgspec.structs.replace(results.plan, runs=())))
        _describe_large(into)
        table_files.write_brief(load(into), into / SUMMARY)
    return into


def _describe_large(into: Path) -> None:
    """Write the manifest of an archive that is too large for a repository, with the address that it had."""
    archive = into / run_archive.ARCHIVE_FILE
    before = archive_download.read_manifest(into)
    manifest = archive_download.describe(archive, before.url if before else "")
    if manifest.bytes > archive_download.LARGE_ARCHIVE_BYTES:
        write_atomically(into / archive_download.ARCHIVE_MANIFEST, encode(manifest))
    else:
        (into / archive_download.ARCHIVE_MANIFEST).unlink(missing_ok=True)


def _copy_diffs(runs: Path, into: Path, results: Results) -> None:
    """Copy the uncommitted changes that runs were made with: without them the commit tells only half."""
    for name in {m.run.diff for m in results.recorded if m.run is not None and m.run.diff}:
        if is_inside(name) and (runs / name).is_file():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(runs / name, into / name)


def _records(recorded: Files, plan: Plan) -> Iterator[tuple[str, bytes]]:
    """Yield the records of planned runs, those of one kind together: they repeat one another."""
    folders = sorted(planned.folder for planned in plan.runs)
    for name in run_archive.READ:
        found_by_folder = ((folder, recorded.get(folder, {}).get(name)) for folder in folders)
        yield from ((f"{folder}/{name}", file.read_bytes()) for folder, file in found_by_folder if file is not None)
