"""MuJoCo models as dynamics: simulation, derivatives, the shipped scenes, kinematic trees."""
