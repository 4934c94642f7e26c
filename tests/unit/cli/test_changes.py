"""What is said of differences, without a store."""

from __future__ import annotations

import pytest

from vfs.cli.changes import summary_line
from vfs.repo.treediff import Summary


@pytest.mark.parametrize(
    ("summary", "line"),
    [
        (Summary(directories=1), "1 directory modified; "),
        (Summary(directories=2), "2 directories modified; "),
        (Summary(files=1, directories=2), "1 modified; "),
    ],
    ids=["a directory", "directories", "a file"],
)
def test_summaries_count_directories_where_no_file_changed(summary: Summary, line: str) -> None:
    assert summary_line({"modified": summary}).startswith(line)
