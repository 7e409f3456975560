"""Reading the command line, calling the verb, and turning errors into exit codes."""

import importlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from enum import IntEnum
from importlib.metadata import version
from typing import cast

import tyro

from trl_suite import content, files
from trl_suite.cli.arguments import Arguments, Verb
from trl_suite.errors import InputError, NotInstalledError, StorageError
from trl_suite.experiment.running.stop_request import interrupts_kept


class Exit(IntEnum):
    """Exit codes and their meaning."""

    DONE = 0
    SOME_FAILED = 1
    BAD_INPUT = 2
    NOT_INSTALLED = 3
    NO_SPACE = 5
    RESUMABLE = 75
    INTERRUPTED = 130


def main(words: Sequence[str] | None = None) -> None:
    """Run `trl-suite` and leave the process with one of `Exit`'s codes."""
    _open_closed_streams()
    _let_any_text_through()
    if list(words if words is not None else sys.argv[1:]) == ["--version"]:
        print(f"trl-suite {version('trl-suite')}")
        sys.exit(int(Exit.DONE))
    try:
        arguments = cast(Verb, tyro.cli(Arguments, prog="trl-suite", args=words, description=_DESCRIPTION))
        if arguments.workspace:
            content.set_workspace(arguments.workspace)
        code = _execute(arguments)
    except (Exception, KeyboardInterrupt) as error:
        code = _ended_by(error)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # one more Ctrl-C now would turn the exit code into a signal's
    sys.exit(int(code))


_CODES: dict[type[BaseException], Exit] = {
    InputError: Exit.BAD_INPUT,
    NotInstalledError: Exit.NOT_INSTALLED,
    FloatingPointError: Exit.SOME_FAILED,  # the policy diverged
}


def _ended_by(error: BaseException) -> Exit:
    """Say what ended the verb and return its exit code; an error that nobody foresaw is raised again."""
    if isinstance(error, BrokenPipeError):  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    if isinstance(error, KeyboardInterrupt):
        return _say("interrupted", Exit.INTERRUPTED)
    if isinstance(error, OSError):  # a name that is too long, a folder that cannot be read or written, a full disk
        storage = error if isinstance(error, StorageError) else files.storage_error(error)
        return _say(storage, Exit.NO_SPACE if storage.full else Exit.BAD_INPUT)
    if str(error).startswith("Symlink loop"):  # pathlib's RuntimeError of Python 3.11 and 3.12
        return _say(f"{str(error).partition('from ')[2]}: a loop of links", Exit.BAD_INPUT)
    for kind, code in _CODES.items():
        if isinstance(error, kind):
            return _say(error, code)
    raise error


def _open_closed_streams() -> None:
    """Let a closed standard stream lead nowhere: no file that is opened later may take its place and be written into.

    Python has None for one that was closed, and `print` would turn from that to another stream.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _let_any_text_through() -> None:
    """Let a terminal of latin-1 or ASCII show "?" for what it has no character for."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


_VERB_MODULES = {"import": "import_zip"}  # no statement could import a module whose name is a keyword
_DESCRIPTION = "Transfer reinforcement learning on robots: how much sooner is a task learned from another's policy?"


def _execute(arguments: Verb) -> int:
    """Import the verb's module only now: training needs torch, and listing envs should not wait for it."""
    verb = type(arguments).__name__.lower()
    if (env := getattr(arguments, "env", None)) and env.startswith("gymnasium:"):
        importlib.import_module("trl_suite.worlds.address").import_asked(env)
    with interrupts_kept():
        module = importlib.import_module(f"trl_suite.cli.verbs.{_VERB_MODULES.get(verb, verb)}")
    return module.execute(arguments)


def _say(error: BaseException | str, code: Exit) -> Exit:
    print(f"trl-suite: {error}", file=sys.stderr)
    return code
