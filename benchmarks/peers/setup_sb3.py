"""Make `.venv-sb3`, the environment that Stable-Baselines3 runs in.

python benchmarks/peers/setup_sb3.py
"""

import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
MINATAR = "minatar==1.0.15"
TARGET = HERE.parents[1] / ".venv-sb3"


def main() -> None:
    venv.create(TARGET, with_pip=True, clear=True)
    python = str(TARGET / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", str(HERE / "requirements-sb3.txt")], check=True)
    # MinAtar's own requirements are for its window, which is not opened here.
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", MINATAR], check=True)
    # Fails here, and not in the middle of a benchmark, where an import is missing.
    subprocess.run([python, "-c", "import stable_baselines3, gymnasium, minatar"], check=True)
    print(f"Stable-Baselines3 is ready in {TARGET}")


if __name__ == "__main__":
    sys.exit(main())
