"""`import bcc` where this directory's parent is on PYTHONPATH: bcc_py's alias takes this package's place."""

from bcc_py.compat import install_as_bcc
from bcc_py.compat.virtual import see_current

install_as_bcc()
see_current()
