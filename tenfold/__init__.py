"""Tenfold: ten published neural-network methods, usable on your own model, data or environment.

Importing this package costs nothing; every method lives in its own sub-package (see `tenfold.catalog`).
"""

__version__ = "0.1.0"
