"""Build the wheel, install it alone in a new virtual environment, and run there the first example of README.

`make wheel` runs this with the Python that it is to be tested with; it needs no other package.  The working directory
is an empty folder, so that nothing of the checkout can be imported, and the budget of the example is one round.
"""

import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
SMALL = {"iterations=15": "iterations=1", "episodes=5": "episodes=1"}  # of the example
PARTS = """
import forethought as ft
assert "site-packages" in ft.__file__, ft.__file__
for name in ("PegInsertion-v0", "ArmTwoLink-v0", "ArmSevenJoint-v0"):
    ft.open_env("forethought/" + name)  # reads its scene
"""  # what needs the files of the package that are no Python


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        venv.create(folder / "venv", with_pip=True)
        python, program = folder / "venv" / "bin" / "python", folder / "venv" / "bin" / "forethought"
        run([python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT], folder)
        (wheel,) = folder.glob("forethought-*.whl")
        run([python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel], folder)
        run([python, "-c", first_example()], folder)
        run([python, "-c", PARTS], folder)
        run([program, "list"], folder, stdout=subprocess.DEVNULL)
        run([program, "report", "runs/cartpole", "--no-video"], folder)
        print(
            f"{wheel.name}, Python {sys.version_info.major}.{sys.version_info.minor}: the first example of README runs"
        )


def first_example():
    """The first Python block of README, with a small budget."""
    block = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)[1]
    for whole, reduced in SMALL.items():
        if whole not in block:
            raise SystemExit(f"the first example of README has no '{whole}'")
        block = block.replace(whole, reduced)
    return block


def run(command, folder, **options):
    subprocess.run([str(word) for word in command], cwd=folder, check=True, **options)


if __name__ == "__main__":
    main()
