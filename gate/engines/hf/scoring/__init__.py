"""Log-likelihoods of given text."""
