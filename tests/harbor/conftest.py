"""Task directories written by the tests."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import pytest

WriteTask: TypeAlias = Callable[..., Path]

FILES = {
    "task.toml": "",
    "instruction.md": "Do it.\n",
    "tests/test.sh": "#!/bin/bash\necho 1 > /logs/verifier/reward.txt\n",
}


@pytest.fixture
def write_task(tmp_path: Path) -> WriteTask:
    """Writes a valid task, with files replaced, added, or left out where they are None."""

    def write(files: Mapping[str, str | None] | None = None) -> Path:
        directory = tmp_path / "some-task"
        for name, content in {**FILES, **(files or {})}.items():
            if content is not None:
                path = directory / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content)
        return directory

    return write
