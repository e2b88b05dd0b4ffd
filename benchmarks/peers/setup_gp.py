"""Make `.venv-gp`, the environment that tinygp and GPJax run in.

python benchmarks/peers/setup_gp.py
"""

import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = HERE.parents[1] / ".venv-gp"


def main() -> None:
    venv.create(TARGET, with_pip=True, clear=True)
    python = str(TARGET / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", str(HERE / "requirements-gp.txt")], check=True)
    # Fails here, and not in the middle of a benchmark, where an import is missing.
    subprocess.run([python, "-c", "import tinygp, gpjax"], check=True)
    print(f"tinygp and GPJax are ready in {TARGET}")


if __name__ == "__main__":
    sys.exit(main())
