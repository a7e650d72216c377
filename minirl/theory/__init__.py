"""Exact answers on small problems: tabular Markov decision processes solved by linear algebra and by enumeration.

`mdp` solves them, `gradients` takes policy gradients apart, `reweighting` estimates them from another policy's paths,
`bounds` compares the performance bound with the exact performance, `regions` solves trust-region problems exactly,
`exact_batch` runs the library's own algorithms with exact expectations in place of samples; of games `tic_tac_toe` has
perfect play and `games` exploitability. Arrays are float64; S states, K actions.
"""
