"""From steps of environments to the samples of an update: rollouts, advantages, batches, scaled rewards."""
