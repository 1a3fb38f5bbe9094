"""Lets a process that a test has started, in whatever way, compile as the test says; see `helpers.shared`.

Python imports a module of this name before anything else, where it is on the path.
"""

import importlib.util
import json
import os
import sys

OPTIONS = "VAE_TESTS_COMPILER_OPTIONS"
"""The variable with the options, as JSON."""


class _Finder:
    """Finds one module as the others would; a process that compiles nothing does not import it, and pays nothing."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "vaecli.vae.compiled":
            return None
        sys.meta_path.remove(_Finder)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            own, of_test = module.compiler_options, json.loads(os.environ[OPTIONS])
            module.compiler_options = lambda: own() | of_test

        spec.loader.exec_module = exec_module
        return spec


if OPTIONS in os.environ:
    sys.meta_path.insert(0, _Finder)
