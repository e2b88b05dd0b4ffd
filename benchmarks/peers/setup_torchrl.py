"""Make `.venv-torchrl`, the environment that TorchRL's moment matching runs in.

python benchmarks/peers/setup_torchrl.py
"""

import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = HERE.parents[1] / ".venv-torchrl"


def main() -> None:
    venv.create(TARGET, with_pip=True, clear=True)
    python = str(TARGET / "bin" / "python")
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "-r", str(HERE / "requirements-torchrl.txt")], check=True
    )
    # Fails here, and not in the middle of a benchmark, where an import is missing.
    subprocess.run([python, "-c", "import torchrl.modules, botorch, gpytorch"], check=True)
    print(f"TorchRL is ready in {TARGET}")


if __name__ == "__main__":
    sys.exit(main())
