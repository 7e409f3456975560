"""Policies on the Hugging Face hub: `hf://user/name`, `hf://user/name@revision`. Only named kinds of file are read."""

import re
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from trl_suite.errors import InputError, NotInstalledError

SCHEME = "hf://"
HUB_FILE_MAX_BYTES = 1024**3  # of one file

_ADDRESS = re.compile(r"hf://(?P<repository>\w[\w.-]*/\w[\w.-]*?)(?:@(?P<revision>\w[\w./-]*))?")
_WANTED = re.compile(
    r"card\.toml|weights\.safetensors|[\w.-]+\.zip|vec_?normalize\.pkl|[\w.-]+\.vecnormalize\.pkl|config\.yml"
)


class Fetched(NamedTuple):
    """A downloaded repository."""

    folder: Path
    origin: str  # the address with the commit that the files are of: hf://user/name@0f3c...


@contextmanager
def fetched(address: str) -> Generator[Fetched]:
    """Yield a temporary folder with the policy files of a hub repository, all of one commit.

    Raises:
        InputError: not such an address, no such repository or revision, a file is too large, or the hub cannot be
            reached.
        NotInstalledError: `huggingface_hub` is missing.
    """
    parts = _ADDRESS.fullmatch(address)
    if not parts:
        raise InputError(f"{address}: not an address of the hub; hf://user/name or hf://user/name@revision")
    with tempfile.TemporaryDirectory(prefix="trl-suite-hub-") as place:
        try:
            revision = _download(parts["repository"], parts["revision"], Path(place))
        except (InputError, NotInstalledError):
            raise
        except Exception as error:  # the client's HTTP library, and so its errors, change between its versions
            reason = str(error).strip().partition("\n")[0]
            raise InputError(f"{address}: {type(error).__name__}: {reason}") from None
        yield Fetched(Path(place), f"{SCHEME}{parts['repository']}@{revision}")


def _download(repository: str, revision: str | None, place: Path) -> str:
    """Download what may be a policy into the folder; return the commit."""
    try:
        import huggingface_hub
    except ImportError:
        raise NotInstalledError("hf:// needs huggingface_hub: pip install 'trl-suite[hub]'") from None
    info = huggingface_hub.HfApi().model_info(repository, revision=revision, files_metadata=True)
    files = [file for file in info.siblings or () if _WANTED.fullmatch(file.rfilename)]
    commit = info.sha or ""
    _check(repository, commit, files)
    for file in files:
        huggingface_hub.hf_hub_download(repository, file.rfilename, revision=commit, local_dir=place)
    return commit


def _check(repository: str, commit: str, files: list[Any]) -> None:
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise InputError(f"{SCHEME}{repository}: the hub names no commit, so that nothing could be pinned")
    if not files:
        raise InputError(f"{SCHEME}{repository}@{commit}: holds neither a policy folder nor an SB3 zip")
    for file in files:
        if file.size is None or file.size > HUB_FILE_MAX_BYTES:
            size = "an unknown number of" if file.size is None else file.size
            raise InputError(
                f"{SCHEME}{repository}@{commit}: {file.rfilename} has {size} bytes; at most {HUB_FILE_MAX_BYTES}"
            )
