"""Sentences of SECURITY.md that can be read off the source: what the package never does, wherever it is."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "forethought"
FILES = sorted(PACKAGE.rglob("*.py"))
UNPICKLING = {"pickle", "cPickle", "dill", "joblib", "marshal", "shelve", "cloudpickle", "yaml"}
NETWORK = {"http", "urllib", "requests", "socketserver", "asyncio", "xmlrpc", "ftplib", "smtplib", "ssl"}
EVALUATES = {"cli/settings_reader.py"}  # the annotations of Forethought's own source files
SOCKETS = {"runs/signals.py"}  # a pair of connected sockets within the process, which wakes a waiting thread


def findings(source):
    """What a source does that SECURITY.md denies."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
            top = {module.partition(".")[0] for module in modules}
            yield from (f"import {name}" for name in top & (UNPICKLING | NETWORK | {"socket"}))
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in ("eval", "exec", "os.system", "os.popen"):
                yield called
            for word in node.keywords:
                if word.arg in ("shell", "allow_pickle") and not (
                    isinstance(word.value, ast.Constant) and word.value.value is False
                ):
                    yield f"{word.arg}={ast.unparse(word.value)}"
        if isinstance(node, ast.Attribute) and node.attr in ("listen", "accept", "create_server"):
            yield f".{node.attr}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_nothing_is_unpickled_evaluated_downloaded_or_served(file):
    name = str(file.relative_to(PACKAGE))
    allowed = {"eval"} if name in EVALUATES else {"import socket"} if name in SOCKETS else set()
    assert set(findings(file.read_text(encoding="utf-8"))) == allowed


def test_the_search_finds_each_of_them():
    assert list(findings("from pickle import loads")) == ["import pickle"]
    assert list(findings("import urllib.request")) == ["import urllib"]
    assert list(findings("subprocess.run(command, shell=True)")) == ["shell=True"]
    assert list(findings("np.load(path, allow_pickle=flag)")) == ["allow_pickle=flag"]
    assert list(findings("eval(text)")) == ["eval"]
    assert list(findings("socket.listen()")) == [".listen"]
    assert list(findings("subprocess.run(command, shell=False)")) == []
