"""The tools, one module each: bcc_py.tools.NAME, run as the command NAME or as bccpy NAME."""
