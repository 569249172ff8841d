"""bcc.version: the version of BCC whose Python API this is."""

__version__ = "0.35.0"
