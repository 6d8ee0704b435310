"""Log-likelihoods of given continuations and texts."""
