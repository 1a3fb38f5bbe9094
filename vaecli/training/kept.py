"""Compiled programs that another process takes over without tracing them."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import pickle
import secrets
import threading
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from jax.experimental import serialize_executable

from vaecli import startup
from vaecli.config import Config, ConfigError
from vaecli.environment import cpu_instructions, recorded_environment
from vaecli.runs.files import read_regular
from vaecli.runs.provenance import source_is_older, source_sha256, versions
from vaecli.training.batch_key import program_settings
from vaecli.vae import build
from vaecli.vae.compiled import part_read
from vaecli.vae.model import Program
from vaecli.vae.resolve import Resolved, resolve

_DEFAULT = Config()

_known: dict[Path, Any] = {}
"""What this process has loaded or kept, by its file: the next batch of the same program takes it from here."""


class KeptPrograms:
    """The compiled programs of a batch, in the folder of compiled programs.

    jax keeps an executable by the program that was traced, so that a process which finds it there has traced that
    program all the same. Here it is kept by all that the trace follows from: the source of this package and the
    versions of the libraries, the settings that are compiled in (the plainest ones that give the part of a `Program`
    that this function reads), the device and what of the environment reaches it, and the shapes and types of the
    arguments. Where any of them is another one nothing is found, and the program is traced.

    Nothing is kept of a head that is somebody's own code; nor by a process that has begun before the source was last
    written, since what it has imported may be older; nor where this package is used from Python, where anybody may
    have replaced a function.

    An executable that XLA has read from jax's cache is not kept either: it cannot be written once more. So a program
    that jax has, but this folder does not, is traced as it was before. So is every program of another device than a
    CPU, where no executable has been read back yet and compared.
    """

    def __init__(self, resolved: Resolved, image: tuple[int, int], programs: Mapping[Any, str], *, vectorise: bool):
        """Reads nothing yet.

        Args:
          resolved: the config of one run of the batch.
          image: the numbers of rows and columns of its images.
          programs: the jitted functions, each with its name in `CompiledSteps`.
          vectorise: whether the runs are one batched program.
        """
        self._resolved, self._image, self._programs, self._vectorise = resolved, image, programs, vectorise

    @property
    def are_kept(self) -> bool:
        """Whether anything is kept of these programs."""
        is_ours = bool(startup.programs) and program_settings(self._resolved) is not None
        return is_ours and jax.default_backend() == "cpu" and _is_of_the_source()

    def load(self, program: Any, arguments: Any) -> Any:
        """Returns the executable of a jitted function for arguments like these; None where none is kept."""

        def loaded(kept: tuple[bytes, Any]) -> Any:
            serialized, results = kept
            devices = list(jax.device_put(0.0).devices())
            given = jax.tree.structure((arguments, {}))
            return serialize_executable.deserialize_and_load(serialized, given, results, execution_devices=devices)

        return _recalled(self._file(program, arguments), loaded)

    def keep(self, program: Any, arguments: Any, executable: Any) -> None:
        """Leaves the executable of a jitted function to other processes."""
        if file := self._file(program, arguments):
            # Of a backend whose executables cannot be written nothing is kept.
            with contextlib.suppress(Exception):
                serialized, _, results = serialize_executable.serialize(executable)
                _write(file, (serialized, results))
                _known[file] = executable

    def results(self, program: Any, *arguments: Any) -> Any:
        """Returns the shapes and types of what a jitted function returns for such arguments."""
        file = self._file(program, arguments, "results")
        if (shapes := _recalled(file, lambda kept: kept)) is None:
            shapes = jax.eval_shape(program, *arguments)
            if file:
                _write(file, shapes)
        return shapes

    def _file(self, program: Any, arguments: Any, what: str = "executable") -> Path | None:
        """Returns the file of what is kept; None where nothing is."""
        if not self.are_kept:
            return None
        leaves = jax.tree_util.tree_flatten_with_path(arguments)[0]
        shapes = [(jax.tree_util.keystr(place), leaf.shape, str(leaf.dtype)) for place, leaf in leaves]
        function = self._programs[program]
        settings = _settings_read(function, self._resolved, self._image)
        made_of = {"program": function, "settings": settings, "image": self._image, "vectorise": self._vectorise}
        identity = _of_process() | made_of | {"shapes": shapes, "of": what}
        name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        # A name like those of jax, so that what was not used for longest is removed, whoever has kept it.
        return Path(startup.programs, f"vae-{name}-cache")


@functools.cache
def _settings_read(function: str, resolved: Resolved, image: tuple[int, int]) -> dict[str, object] | None:
    """Returns what one of `CompiledSteps` follows from: the settings of the plainest run from which it follows, too.

    So what the runs of a process share, other processes share: a setting that the function does not read has its
    default value.
    """

    def read(run: Resolved) -> Program | None:
        return part_read(function, build.program(run, image))

    plainest, wanted = resolved, read(resolved)
    for name in program_settings(resolved) or {}:
        if getattr(plainest.config, name) != (value := getattr(_DEFAULT, name)):
            with contextlib.suppress(ConfigError):
                plainer = resolve(dataclasses.replace(plainest.config, **{name: value}))
                plainest = plainer if read(plainer) == wanted else plainest
    return program_settings(plainest)


def compiled(program: Any, arguments: Any) -> tuple[Any, bool]:
    """Compiles a jitted function for arguments like these; returns the executable, and whether XLA has just made it."""
    _of_thread.new = False
    executable = program.lower(*arguments).compile()
    return executable, _of_thread.new


_of_thread = threading.local()


def _note_new(event: str, **_: Any) -> None:
    # jax sends it when it writes what has been compiled into its own cache.
    if event == "/jax/compilation_cache/cache_misses":
        _of_thread.new = True


jax.monitoring.register_event_listener(_note_new)


@functools.cache
def _is_of_the_source() -> bool:
    return source_is_older(startup.begun)


@functools.cache
def _of_process() -> dict[str, Any]:
    """Returns what decides the programs of this process, besides the runs."""
    environment = dict(recorded_environment()) | {"instructions": cpu_instructions()}
    return {"source": source_sha256(), "versions": dict(versions()), "environment": environment}


def _recalled(file: Path | None, loaded: Any) -> Any:
    """Returns what is kept in a file, as `loaded` makes it of its content; None where nothing can be had from it."""
    if file is not None and file not in _known:
        # Whatever is wrong with it, there is another way to the program.
        with contextlib.suppress(Exception):
            _known[file] = loaded(pickle.loads(zlib.decompress(read_regular(file))))
    return _known.get(file) if file else None


def _write(file: Path, kept: Any) -> None:
    # What this process imports from now on may be newer than the source by which the file is named.
    if source_is_older(startup.begun):
        with contextlib.suppress(OSError):
            # Nobody reads half of it, and what a killed process leaves is removed like any other entry. It need not
            # reach the disk: what is torn is noticed.
            temporary = file.with_name(f"new-{secrets.token_hex(16)}-cache")
            temporary.write_bytes(zlib.compress(pickle.dumps(kept), 1))
            temporary.replace(file)
