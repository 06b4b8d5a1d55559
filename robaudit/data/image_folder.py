"""Image folders as a source of data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robaudit.data.image_survey import common_size
from robaudit.data.images import open_folder
from robaudit.data.reader import Fit, Reader, Source, Wanted
from robaudit.data.source import Dataset
from robaudit.data.targets import folder_targets
from robaudit.errors import UsageError

__all__ = ["FolderReader", "FolderSource"]


class FolderReader(Reader):
    """Folders: what no other reader takes for its own."""

    name = "an image folder"
    columns = True

    def takes(self, path: Path) -> bool:
        """Any folder."""
        return path.is_dir()

    def open(self, path: Path, wanted: Wanted) -> FolderSource:
        """Files are looked at once the model's shape is known."""
        return FolderSource(path, wanted)


class FolderSource(Source):
    """A folder whose files were not looked at yet."""

    labels_go = "with --labels FILE.csv"

    def __init__(self, folder: Path, wanted: Wanted) -> None:
        self._folder, self._wanted = folder, wanted

    def samples(self, fit: Fit) -> Dataset:
        """The images, cut to the model's shape."""
        if fit.ranges is not None:
            raise UsageError(f"--feature-ranges is for tables, and {self._folder} with this model is none")
        return open_folder(self._folder, fit, self._wanted)

    def size(self) -> tuple[int, int] | None:
        """That of the first images, if they have one in common."""
        return common_size(self._folder)

    def targets(self, ids: Sequence[str]) -> tuple[str, ...] | None:
        """The column of a CSV of labels."""
        wanted = self._wanted
        return folder_targets(
            self._folder,
            ids,
            wanted.labels,
            label_column=wanted.label_column,
            target_column=wanted.target_column,
        )
