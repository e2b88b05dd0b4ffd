"""Make `.venv-mbrl`, the environment that the peer runs in.

python benchmarks/peers/setup_mbrl.py
"""

import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = HERE.parents[1] / ".venv-mbrl"
MBRL = "mbrl==0.2.0"


def main() -> None:
    venv.create(TARGET, with_pip=True, clear=True)
    pip = [str(TARGET / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "-r", str(HERE / "requirements-mbrl.txt")], check=True)
    subprocess.run([*pip, "--no-deps", MBRL], check=True)
    # Fails here, and not in the middle of a benchmark, where an import is missing.
    check = "import mbrl_patches; mbrl_patches.apply(); import mbrl.algorithms.pets"
    subprocess.run([str(TARGET / "bin" / "python"), "-W", "ignore", "-c", check], check=True, cwd=HERE)
    print(f"{MBRL} is ready in {TARGET}")


if __name__ == "__main__":
    sys.exit(main())
