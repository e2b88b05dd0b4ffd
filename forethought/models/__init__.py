"""Models fitted to data, p(y given z): ensembles of networks, Gaussian processes, classifiers."""
