"""Meters of energy for tests of what uses them."""


class Watts:
    """A meter of two watts."""

    name, counts, totals = "watts", False, {"board": ("board",)}

    def read(self):
        return {"board": 2.0}

    def close(self):
        pass
