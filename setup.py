"""Builds the compiled core, minirl/_core/compiled/*.pyx. Everything else about the package is in pyproject.toml.

Without a C compiler the installation goes on and the NumPy twins of minirl/_core/reference/*.py take over
(minirl._core.COMPILED is False).
MINIRL_DEBUG=1 builds with every check on; MINIRL_SIMD=-1, 0, 1 or 2 builds up to standard C, any processor, AVX2,
AVX-512 (2 is normal).
"""

import glob
import os
import sys
import sysconfig

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

CORE = "minirl/_core"
MODULES = (
    "acting",
    "adam",
    "arrays",
    "categorical",
    "classic_control",
    "cg_step",
    "gaussian",
    "losses",
    "mlp",
    "returns",
    "rollout",
    "simple_spread",
    "vectors",
)
DEBUG = os.environ.get("MINIRL_DEBUG", "") not in ("", "0")
# one binary for CPython 3.11 and later; the build without a GIL has no stable interface yet
ABI3 = sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")

DIRECTIVES = {
    "language_level": "3",
    "boundscheck": DEBUG,
    "wraparound": DEBUG,
    "initializedcheck": DEBUG,
    "nonecheck": DEBUG,
    "cdivision": True,  # C's division: no divisor is an integer that can be 0, and x/0.0 is inf or NaN, as in NumPy
}
# No -march=native: what is built here must run elsewhere (c/mlp/dispatch.h picks the vectors at run time).
# No -ffast-math: NaN must survive.
# Neither of the two -fno options changes a result: errno is not read after sqrt, floating-point flags do not trap.
GNU_FLAGS = ["-O3", "-g0", "-fno-math-errno", "-fno-trapping-math"]
# a·b + c is rounded twice, the same on every machine; in the MLP's products once where the processor can, which
# doubles their speed.
CONTRACT = {"mlp": "-ffp-contract=fast"}


class BuildKernels(build_ext):
    """Flags by compiler, which is known only now; all modules or none, since a half-built core could not be imported.

    The C is made here and not when this file is read: an installation reads it three times.
    """

    def build_extensions(self):
        for ext, c in zip(
            self.extensions, cythonize(self.extensions, compiler_directives=DIRECTIVES, force=True), strict=True
        ):
            ext.sources = c.sources  # forced: an older .c may come from other directives
        super().build_extensions()
        files = [self.get_ext_fullpath(ext.name) for ext in self.extensions]
        built = [file for file in files if os.path.exists(file)]
        if len(built) < len(files):
            self.warn("the compiled core could not be built: minirl will run on its NumPy twins, several times slower")
            for file in built:
                os.remove(file)

    def build_extension(self, ext):
        if self.compiler.compiler_type == "msvc":
            ext.extra_compile_args = ["/O2", "/std:c11"]
        else:
            ext.extra_compile_args = [*GNU_FLAGS, CONTRACT.get(ext.name.rpartition(".")[2], "-ffp-contract=off")]
        super().build_extension(ext)


def extensions():
    macros = [("Py_LIMITED_API", "0x030B0000")] if ABI3 else []
    if simd := os.environ.get("MINIRL_SIMD"):
        macros.append(("MINIRL_SIMD", str(int(simd))))
    return [
        Extension(
            f"minirl._core.compiled.{name}",
            [f"{CORE}/compiled/{name}.pyx"],
            include_dirs=[numpy.get_include(), f"{CORE}/c"],
            define_macros=macros,
            py_limited_api=ABI3,
            depends=[*glob.glob(f"{CORE}/c/**/*.h", recursive=True), *glob.glob(f"{CORE}/compiled/*.pxd")],
            optional=True,
        )
        for name in MODULES
    ]


setup(
    ext_modules=extensions(),
    cmdclass={"build_ext": BuildKernels},
    options={"build_ext": {"parallel": os.cpu_count() or 1}}
    | ({"bdist_wheel": {"py_limited_api": "cp311"}} if ABI3 else {}),
)
