"""Event files of TensorBoard, written without torch."""

import math
import time
from pathlib import Path
from typing import Any

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter

_event: Any = event_pb2  # protobuf's modules are made when they are imported, so that no checker knows their names
_summary: Any = summary_pb2


class EventWriter:
    """A new event file in a folder, which TensorBoard shows as a run of that name.

    Args:
        folder: is made where it is not there.
        suffix: of the file's name.
    """

    def __init__(self, folder: Path, suffix: str = "") -> None:
        self._writer = EventFileWriter(str(folder), filename_suffix=suffix)

    def __enter__(self) -> "EventWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def scalar(self, tag: str, value: float, step: int = 0) -> None:
        """Add one number; TensorBoard has no place for one that is not finite."""
        if math.isfinite(value):
            self.add(_summary.Summary(value=[_summary.Summary.Value(tag=tag, simple_value=value)]), step)

    def add(self, summary: Any, step: int = 0) -> None:
        """Add a summary."""
        self._writer.add_event(_event.Event(wall_time=time.time(), step=step, summary=summary))
