"""What a run learned, for people: diagnostics, plots, one self-contained page, a video."""
