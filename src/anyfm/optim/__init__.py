"""What both engines share: training statistics, initial values, priors, optimizers, the learning-rate schedule."""
