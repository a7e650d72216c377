"""The index of equations: data in the toml files, search over it, the tags in the code, and the page made of it."""
