"""Mathematics without policies: sums over samples and ranks, running moments, solvers, optimisers, random streams."""
