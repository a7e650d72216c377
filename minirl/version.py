"""The version, in one place: setup.py, the command line and files read it here."""

__version__ = "0.2.0"
