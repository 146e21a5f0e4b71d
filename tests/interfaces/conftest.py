"""The command line, for every test of a verb."""

from __future__ import annotations

import pytest
from commands import Command, Done

from hourglass.interfaces.cli import run


@pytest.fixture
def hourglass(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line, in this process."""

    def call(*words: object) -> Done:
        code = run([str(word) for word in words])
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return call
