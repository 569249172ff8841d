"""`import bcc` where this directory's parent is on PYTHONPATH: bcc_py's alias takes this package's place."""

from bcc_py.compat import install_as_bcc

install_as_bcc()
