"""In work."""


class SimpleSpread:
    pass
