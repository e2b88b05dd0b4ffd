"""The line that says how far a command is."""

import sys

from forethought.cli import progress_line


def test_only_a_terminal_sees_it(capsys, monkeypatch):
    progress_line.show("half")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    progress_line.show("half")
    progress_line.clear()
    assert capsys.readouterr().err == "\r\x1b[Khalf\r\x1b[K"
