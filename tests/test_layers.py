"""The house rules that no linter knows: who may import whom, and that importing is quick and changes nothing."""

import ast
import builtins
import dis
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "forethought"

# From the foundations up; rooms of one storey do not know each other.
STOREYS = [
    {"_version", "registry"},
    {"core"},
    {"networks", "tasks"},
    {"models"},
    {"dynamics"},
    {"envs"},
    {"planning", "policies"},
    {"learners", "games"},
    {"algorithms"},
    {"runs"},
    {"report", "export"},
    {"cli"},
    {"__main__", ""},  # "" is forethought/__init__.py, which shows every room's exports
]
LEVEL = {room: level for level, rooms in enumerate(STOREYS) for room in rooms}
FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = sorted(".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for f in FILES)


def room_of(module):
    """The room of a dotted name ("forethought.core.data" -> "core"); "" for the package itself."""
    return (module.split(".") + [""])[1]


def imports(source):
    """The modules of this package that a source imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            # `from forethought import core` imports a room, `from forethought.core import data` stays in one
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "forethought")


def offenses(room, source):
    """Imports that go sideways or up."""
    others = {room_of(name) for name in imports(source)} - {room}
    return sorted(other for other in others if LEVEL.get(other, len(STOREYS)) >= LEVEL[room])


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_go_downwards(file):
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    room = "" if parts == ("__init__",) else parts[0]
    assert room in LEVEL, f"give {room} a storey"
    assert offenses(room, file.read_text()) == []


def test_the_rule_sees_every_form_of_import():
    assert offenses("core", "import forethought.cli.main") == ["cli"]
    assert offenses("models", "def f():\n    from forethought.dynamics.space import x") == ["dynamics"]
    assert offenses("tasks", "if True:\n    from forethought.networks.mlp import x") == ["networks"]
    assert offenses("core", "from forethought import planning") == ["planning"]
    assert offenses("envs", "from forethought.core.data import Buffer\nimport jax") == []


def globals_of(code):
    """The global names that a code object, or one inside it, reads."""
    yield from (i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME"))
    for inner in code.co_consts:
        if hasattr(inner, "co_code"):
            yield from globals_of(inner)


@pytest.mark.parametrize("module", [m for m in MODULES if m != "forethought.__main__"])
def test_every_name_is_defined(module):
    """The linter's own rule is off, since it takes the shapes of arrays for names."""
    source = Path(sys.modules[module].__file__ if module in sys.modules else importlib.import_module(module).__file__)
    code = compile(source.read_text(), str(source), "exec")
    inside = [inner for inner in code.co_consts if hasattr(inner, "co_code")]
    known = {*vars(sys.modules[module]), *vars(builtins), "__name__", "__module__", "__qualname__", "__annotations__"}
    unknown = {name for part in inside for name in globals_of(part)} - known - class_names(source.read_text())
    assert not unknown


def class_names(source):
    """What class bodies define: they read it as if it were global."""
    classes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
    bodies = [child for node in classes for child in ast.walk(node)]
    stored = {n.id for n in bodies if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return stored | {n.name for n in bodies if isinstance(n, ast.FunctionDef | ast.ClassDef)}


def python(code):
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


LIGHT = [
    "forethought",
    "forethought.registry",
    "forethought.core.errors",
    "forethought.cli.main",
    "forethought.envs.shipped",
]


def test_light_modules_load_nothing_heavy():
    code = f"import sys, {', '.join(LIGHT)}; print(*sys.modules)"
    loaded = {name.split(".")[0] for name in python(code)}
    assert not loaded & {"jax", "equinox", "optax", "gymnasium", "mujoco", "numpy", "matplotlib"}


def test_importing_changes_nothing():
    """Every module at once: JAX's settings, NumPy's error state, warning filters, environment and random state stay."""
    code = f"""
import importlib, os, random, warnings
import jax, gymnasium, matplotlib, numpy, scipy.special

def world():
    jax_settings = dict(jax.config.values)
    return [jax_settings, numpy.geterr(), list(warnings.filters), dict(os.environ), random.getstate(),
            matplotlib.rcParams["backend"] if "backend" in matplotlib.rcParams else None]

for module in {[m for m in MODULES if m != "forethought.__main__"]}:
    before = world()
    importlib.import_module(module)
    changed = [(a, b) for a, b in zip(before, world()) if a != b]
    if changed:
        print(module, changed)
"""
    assert python(code) == []
