"""Make `.venv-crocoddyl`, the environment that the peer of `speed_trajopt.py` runs in.

python benchmarks/peers/setup_crocoddyl.py
"""

import subprocess
import sys
import venv
from pathlib import Path

TARGET = Path(__file__).resolve().parents[2] / ".venv-crocoddyl"
CROCODDYL = "crocoddyl==3.2.1"
PINOCCHIO = "pin==4.0.0"  # with 4.1.0 the binary of crocoddyl 3.2.1 misreads the model: gravity vanishes


def main() -> None:
    venv.create(TARGET, with_pip=True, clear=True)
    python = str(TARGET / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", CROCODDYL, PINOCCHIO], check=True)
    subprocess.run([python, "-c", "import crocoddyl, pinocchio"], check=True)
    print(f"{CROCODDYL} is ready in {TARGET}")


if __name__ == "__main__":
    sys.exit(main())
