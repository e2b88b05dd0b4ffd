"""Known models of MuJoCo environments, and their reward and end on simulated states."""
