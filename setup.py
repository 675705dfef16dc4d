"""Builds the one extension module, perfsuite._core.  Everything else is in pyproject.toml.

PERFSUITE_BUILD chooses the kind of build:
  release  (default) optimised
  debug    -O0 -g, assertions on
  asan     AddressSanitizer and UndefinedBehaviorSanitizer
  tsan     ThreadSanitizer
  cov      gcov counters
PERFSUITE_DEFINE adds comma-separated macros; the tests use it to build negative controls.

With SOURCE_DATE_EPOCH set, wheels of one commit are the same bytes wherever they are built (tests/wheels.py): debug
information names the sources from the project's root.
"""

import os
import sys
from glob import glob

from setuptools import Extension, setup

WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion"]
# Python's own headers are included as system headers by csrc/bind/pfs_py.h, so the warnings above hold for our code.
SANITIZE = ["-fsanitize=address,undefined"]
KINDS = {
    "release": (["-O3", "-g1", "-DNDEBUG"], []),
    "debug": (["-O0", "-g3", "-UNDEBUG"], []),
    "asan": (
        ["-O1", "-g3", "-UNDEBUG", "-fno-omit-frame-pointer", *SANITIZE, "-fno-sanitize-recover=all"],
        SANITIZE,
    ),
    "tsan": (["-O1", "-g3", "-UNDEBUG", "-fsanitize=thread"], ["-fsanitize=thread"]),
    "cov": (["-O0", "-g3", "-UNDEBUG", "--coverage"], ["--coverage"]),
}

HERE = os.path.dirname(os.path.abspath(__file__))

kind = os.environ.get("PERFSUITE_BUILD", "release")
if kind not in KINDS:
    sys.exit(f"PERFSUITE_BUILD={kind!r} is not a kind of build; choose one of: {', '.join(KINDS)}")
compile_args, link_args = KINDS[kind]
defines: list[tuple[str, str | None]] = [("PFS_BUILD", f'"{kind}"')]
for item in filter(None, os.environ.get("PERFSUITE_DEFINE", "").split(",")):
    name, _, value = item.partition("=")
    defines.append((name, value or "1"))

setup(
    ext_modules=[
        Extension(
            "perfsuite._core",
            sources=sorted(glob("csrc/core/*.c") + glob("csrc/wire/*.c") + glob("csrc/bind/*.c")),
            depends=sorted(glob("csrc/*/*.h")),
            include_dirs=["csrc/core", "csrc/wire", "csrc/bind"],
            define_macros=defines,
            extra_compile_args=[
                *(*WARNINGS, "-fvisibility=hidden", "-fno-math-errno", "-fno-plt", f"-ffile-prefix-map={HERE}=."),
                *compile_args,
            ],
            extra_link_args=link_args,
            libraries=["m"],
        )
    ],
)
