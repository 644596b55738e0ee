"""Network outputs to results, in NumPy alone, for services and evaluation alike."""
