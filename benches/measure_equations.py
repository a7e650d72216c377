"""How far is the code from the equations?

Each tag's error against a different formula, written to benches/results/equations.json.

    python benches/measure_equations.py     then `python -m minirl.equations.page` puts the numbers into the index

A measurement is a function of a generator that returns an error: relative where the quantity has a size, the amount by
which it is exceeded where the equation is an inequality. What may come out stands beside it; the command fails when
more does. Float64 throughout.
"""

import json
import sys
from pathlib import Path

import equation_errors_algorithms
import equation_errors_multiagent
import equation_errors_theory
import numpy as np
from equation_register import MEASURES
from machine import describe

RESULTS = Path(__file__).parent / "results" / "equations.json"
# importing a part registers its measurements
PARTS = (equation_errors_theory, equation_errors_algorithms, equation_errors_multiagent)


def main() -> int:
    """Measure all, write the file, and fail when an error is larger than it may be."""
    found, late = {}, []
    for tag, (quantity, tolerance, measure) in MEASURES.items():
        error = float(f"{measure(np.random.default_rng(20150219)):.2g}")
        found[tag] = {"error": error, "tolerance": tolerance, "quantity": quantity}
        late += [tag] if not error <= tolerance else []
        print(
            f"{tag:6} {error:8.1e}  at most {tolerance:.0e}  {quantity}"
            + ("   TOO LARGE" if late[-1:] == [tag] else "")
        )
    RESULTS.parent.mkdir(exist_ok=True)
    document = {
        "command": "python benches/measure_equations.py",
        "machine": describe("scipy", "autograd"),
        "equations": found,
    }
    RESULTS.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(f"{len(found)} equations measured, {len(late)} beyond their tolerance: {RESULTS}")
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
