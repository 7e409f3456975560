"""The errors that a user can mend, each naming the thing, the place and the fix."""

import difflib
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from itertools import takewhile

NAMES_LISTED_MAX = 40  # names that a message lists in full


def printable(text: str) -> str:
    """Return the text with all that is not printable spelt out as an escape, so that no terminal acts on it.

    Spelt out are control characters (C0, DEL, C1), line breaks, bidirectional and other invisible marks, lone
    surrogates, and characters that Unicode has not assigned.
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else _spelt_out(sign) for sign in text)


def _spelt_out(sign: str) -> str:
    return sign.encode("unicode_escape", "backslashreplace").decode("ascii")


def _lines(message: object) -> str:
    """Return a message for a terminal: of line breaks only those stay that an indented line follows."""
    return "\n  ".join(map(printable, str(message).split("\n  ")))


class InputError(ValueError):
    """Bad input: the command line prints it without a traceback and exits with 2.

    Its message may name what a hostile file holds: it is printable, whatever that is.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(_lines(message))


class NotInstalledError(RuntimeError):
    """Something that this needs is not installed: the message says what to install; exit code 3."""

    def __init__(self, message: object = "") -> None:
        super().__init__(_lines(message))


class StorageError(OSError):
    """A disk is full (exit code 5) or cannot be written (2): the message names the path, and the bytes needed."""

    def __init__(self, message: str, *, full: bool = False) -> None:
        super().__init__(_lines(message))
        self.full = full

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), self.args, {"full": self.full}  # it is sent from worker to parent


def suggestion(wrong: str, names: Iterable[str]) -> str:
    """Return `" (did you mean 'frame_skip'?)"`, or `""` where nothing known is near."""
    near = _nearest(wrong, names, limit=0.6)
    return f" (did you mean '{near[0]}'?)" if near else ""


def unknown(kind: str, wrong: str, names: Iterable[str], where: str = "") -> InputError:
    """Return the error for a name that does not exist, with the nearest one and the list of those that do."""
    options = sorted(names)
    place = f"{where}: " if where else ""
    return InputError(f"{place}unknown {kind} '{wrong}'{suggestion(wrong, options)}; known: {_listed(wrong, options)}")


def _listed(wrong: str, options: list[str]) -> str:
    """Return the names that exist; of many, the nearest three (or the first) and how many more there are."""
    if len(options) <= NAMES_LISTED_MAX:
        return ", ".join(options) if options else "none"
    nearest = _nearest(wrong, options, limit=0.4)[:3] or options[:3]
    return f"{', '.join(nearest)}, and {len(options) - len(nearest)} more"


def _nearest(wrong: str, names: Iterable[str], *, limit: float) -> list[str]:
    """Return the names that are as alike as `limit`, in (0, 1], or more: the most alike first."""
    likeness = {name: _likeness(wrong, name) for name in names}

    def rank(name: str) -> tuple[float, int, str]:
        beginning = takewhile(lambda pair: pair[0] == pair[1], zip(name, wrong, strict=False))
        return -likeness[name], -sum(1 for _ in beginning), name

    return sorted((name for name in likeness if likeness[name] >= limit), key=rank)


def _likeness(wrong: str, name: str) -> float:
    """Return how alike two names are, from 0 to 1; less, where only the beginning of a longer one is typed.

    Of a pattern, its text is compared with the stretch of the name that is most like it.
    """
    if "*" in wrong:
        return _likeness_of_stretch(wrong.replace("*", ""), name)
    matcher = difflib.SequenceMatcher(b=wrong)  # it keeps what it knows of its second text
    matcher.set_seq1(name)
    whole = matcher.ratio()
    matcher.set_seq1(name[: len(wrong)])
    return max(whole, 0.85 * matcher.ratio())


def _likeness_of_stretch(text: str, name: str) -> float:
    stretches = {name[start : start + len(text)] for start in range(max(1, len(name) - len(text) + 1))}
    return max(difflib.SequenceMatcher(a=stretch, b=text).ratio() for stretch in stretches)


@contextmanager
def located(where: str) -> Generator[None]:
    """Open the message of an `InputError` that is raised inside with the place it came from: a file, a key."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


class SuiteWarning(UserWarning):
    """Something that the user should know, and that stops nothing: a worker passes it on."""


class UncapturedWarning(SuiteWarning):
    """Work on a device runs without a graph."""
