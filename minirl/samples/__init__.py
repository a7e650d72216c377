"""From stepped environments to what an update sees: rollouts, advantages, batches, scaled rewards. Knows no algorithm."""
