"""Exact answers on small problems: tabular Markov decision processes solved by linear algebra and by enumeration.

`mdp` solves them, `gradients` takes policy gradients apart, `reweighting` takes them from another policy's paths, `bounds` holds the
performance bound against the truth, `regions` solves trust-region problems to the end, `exact` runs the library's own algorithms with
exact expectations in place of samples; of games `tic_tac_toe` has perfect play and `games` exploitability. Arrays are float64; S states,
K actions.
"""
