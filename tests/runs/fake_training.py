"""Stands in for `forethought train`: takes what a sweep gives it, and does what a file in the run directory says.

`behavior.json` holds for each attempt "done", "fail", "usage", "kill" or "hang"; the last one goes on for ever.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

out = Path(sys.argv[sys.argv.index("--out") + 1])
attempts = out / "attempts"
number = len(attempts.read_text().splitlines()) if attempts.exists() else 0
cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
with attempts.open("a") as file:
    file.write(json.dumps({"argv": sys.argv[1:], "cores": cores, "threads": os.environ["OMP_NUM_THREADS"]}) + "\n")
plan = json.loads((out / "behavior.json").read_text()) if (out / "behavior.json").exists() else ["done"]
behavior = plan[min(number, len(plan) - 1)]

info = {"format": 1, "status": "running", "standing": {"iteration": 3, "env_steps": 30, "experience_s": 3.0}}
(out / "metrics.jsonl").write_text('{"iteration": 3, "env_steps": 30, "return": -1.5, "wall_s": 2.0}\n{"torn')
if behavior == "done":
    info["status"] = "done"
elif behavior == "fail":
    info |= {"status": "failed", "reason": "the fit diverged."}
(out / "run.json").write_text(json.dumps(info))
if behavior == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if behavior == "hang":
    time.sleep(60)
if behavior in ("fail", "usage"):
    print("error: what went wrong", flush=True)
sys.exit({"done": 0, "fail": 1, "usage": 2}[behavior])
