"""The index of equations: data in the toml files, search over it, where the tags stand in the code, and the page made of it."""
