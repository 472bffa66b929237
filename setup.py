"""
The C extensions, which are optional.  Everything else is in setup.cfg.

With SHOUT_BUILD_EXTENSION=yes in the environment it is an error if they cannot be
built; with no they are left out.
"""

import os
import platform
import sys
import sysconfig
from glob import glob

from setuptools import Extension, setup

choice = os.environ.get("SHOUT_BUILD_EXTENSION", "")
# They make system calls of Linux, and rely on the GIL.
isPossible = (
    sys.platform == "linux"
    and platform.python_implementation() == "CPython"
    and not sysconfig.get_config_var("Py_GIL_DISABLED")
)
if choice not in ("yes", "no", ""):
    sys.exit(f"SHOUT_BUILD_EXTENSION must be yes or no, not {choice!r}")
if choice == "yes" and not isPossible:
    sys.exit("SHOUT_BUILD_EXTENSION=yes needs Linux, and CPython with a GIL")

extensions = [
    Extension(
        source.removesuffix(".c").replace("/", "."),
        [source],
        define_macros=[("SHOUT_LIMITED_API", None)],
        py_limited_api=True,
        optional=choice != "yes",
    )
    for source in sorted(glob("shout/**/*.c", recursive=True))
    if isPossible and choice != "no"
]
# One wheel for all versions of Python.
options = {"bdist_wheel": {"py_limited_api": "cp310"}} if extensions else {}
setup(ext_modules=extensions, options=options)
