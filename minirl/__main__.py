"""`python -m minirl` is `minirl`."""

import sys

from minirl.cli import main

if __name__ == "__main__":
    sys.exit(main())
