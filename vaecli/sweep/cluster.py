"""The door to Ray: a cluster to work on, or one of our own that other machines cannot reach, and tasks on it.

Only this module imports Ray, or gRPC, and reads what they leave unwritten; `tests/sweep/test_ray_contract.py` says what
is relied on.
"""

import contextlib
import importlib.util
import logging
import os
import platform
import re
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import vaecli
from vaecli.config import UsageError
from vaecli.config.errors import one_line

_ANSWER = 10
"""Seconds within which a cluster has to answer."""

_STORE = 128 * 2**20
"""Bytes of shared memory for a Ray of our own; what passes through it are events and summaries."""

_PRIVATE = {
    # Read when Ray is imported: as on systems where it is for one machine only, it listens on loopback.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Its processes run code for whoever knows the token, which is written nowhere.
    "RAY_AUTH_MODE": "token",
}
"""The environment of a Ray of our own."""

_PRIVATE_DEFAULTS = {"RAY_worker_niceness": "0", "RAY_task_oom_retries": "3"}
"""The same, unless the user has set it otherwise."""

_DEFAULTS = {
    "RAY_NUM_REDIS_GET_RETRIES": "2",  # What answers does so at once.
    # How long a process gets task after task without being asked for anew, which idles another machine for 0.1 s.
    "RAY_worker_lease_timeout_milliseconds": "10000",
}
"""The environment for any cluster, unless the user has set it otherwise."""


def check(address: str | None) -> None:
    """Checks that Ray is installed, and that an address can be one: `HOST:PORT`, `auto`, or none.

    Raises:
      UsageError: it is not.
    """
    if importlib.util.find_spec("ray") is None:
        raise UsageError("--launcher ray: Ray is not installed; pip install 'vaecli[ray]' does it")
    if address is None:
        return
    if address.startswith("ray://"):
        raise UsageError(f"--ray-address: {address} is for Ray clients; sweep on a machine of the cluster, with auto")
    if address != "auto" and not re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:\s/]+):\d{1,5}", address):
        raise UsageError(f"--ray-address: must be auto or HOST:PORT, got {address!r}")


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Makes this process a driver of a cluster, or of a Ray that ends with it.

    Raises:
      UsageError: no cluster answers there, or it does not accept us.
    """
    folder = ""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or address
        check(address)
    if address is None:
        folder = tempfile.mkdtemp(prefix="vae-ray-", dir="/tmp")  # The names of sockets in it must be short.
        os.environ |= {**_PRIVATE, "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        _set_defaults(_PRIVATE_DEFAULTS)
    elif address != "auto":
        check_answers(address)
    _set_defaults(_DEFAULTS)
    import ray

    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        # Otherwise it prints to stdout, among the results, what our own messages say better.
        try:
            _start(address, folder)
            yield
        finally:
            ray.shutdown()
            _remove(folder)


def _set_defaults(values: dict[str, str]) -> None:
    for name, value in values.items():
        os.environ.setdefault(name, value)


def _start(address: str | None, folder: str) -> None:
    """Connects to a cluster, or starts a Ray of our own that keeps its files in a folder."""
    import ray

    own = {"object_store_memory": _STORE, "include_dashboard": False, "_temp_dir": folder} if folder else {}
    handler = signal.getsignal(signal.SIGTERM)
    # It puts the working folder in front of the modules of tasks, where a file would hide a library.
    root = Path(vaecli.__file__).parents[1]
    try:
        with contextlib.chdir(root), _silenced(2) if address else contextlib.nullcontext():
            ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **own)
    except Exception as error:
        raise UsageError(_why_not(address, error)) from error
    finally:
        signal.signal(signal.SIGTERM, handler)  # Ray has put its own there.


@contextlib.contextmanager
def _silenced(descriptor: int) -> Iterator[None]:
    """Discards what libraries write to a file descriptor by themselves; what is wrong they raise, too."""
    kept, nowhere = os.dup(descriptor), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    try:
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)
        os.close(nowhere)


def _remove(folder: str) -> None:
    """Removes the folder of a Ray of our own, if there is one."""
    for _ in range(20 if folder else 0):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.exists(folder):
            break
        time.sleep(0.1)  # One of its processes still writes there.


def _why_not(address: str | None, error: Exception) -> str:
    """Says why Ray did not start, or a cluster did not accept us."""
    if isinstance(error, ConnectionError) and address == "auto":
        return "--ray-address: no Ray cluster was found on this machine; 'ray start' makes it a part of one"
    if isinstance(error, ConnectionError):
        return f"--ray-address: {address} is not a Ray cluster that admits us; are port and token those of its head?"
    what = f"--ray-address: {address}" if address else "--launcher ray: Ray does not start here"
    return f"{what} ({one_line(error, 300, with_type=False)})"


def check_answers(address: str) -> None:
    """Checks that something speaks gRPC there; Ray itself would try for minutes, and not say what is wrong.

    Raises:
      UsageError: nothing does.
    """
    import grpc

    if os.environ.get("RAY_USE_TLS", "0") != "0":
        return  # Only Ray knows the certificates.
    with grpc.insecure_channel(address) as channel:
        ask = channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            ask(b"", timeout=_ANSWER, wait_for_ready=True)
        except grpc.RpcError as error:
            # Any other code is an answer, for example that it wants a token.
            if isinstance(error, grpc.Call) and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise UsageError(f"--ray-address: no Ray cluster answers at {address}") from None


def shortage(cpus: float, gpus: float) -> str:
    """Says what the machines of the cluster lack for one task; nothing, where one of them is large enough.

    Raises:
      UsageError: the head of the cluster does not answer; Ray would end this process without a message of ours.
    """
    import ray

    check_answers(ray.get_runtime_context().gcs_address)
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    sizes = [(resources.get("CPU", 0), resources.get("GPU", 0)) for resources in machines]
    if any(have_cpus >= cpus and have_gpus >= gpus for have_cpus, have_gpus in sizes):
        return ""
    wanted = f"CPUs: {cpus:g}" + (f", GPUs: {gpus:g}" if gpus else "")
    best = max(sizes, key=lambda size: size[::-1] if gpus else size, default=(0, 0))
    return f"no machine is large enough for a run ({wanted}); the largest has CPUs: {best[0]:g}, GPUs: {best[1]:g}"


def machine() -> str:
    """Returns the name of this machine and of its node in the cluster."""
    import ray

    return f"{platform.node()} ({ray.get_runtime_context().get_node_id()[:8]})"


def submitter(function: Callable[..., Any], *, cpus: float, gpus: float, retries: int) -> Callable[..., Any]:
    """Returns a function that hands Ray a call of another one, and returns the reference of its result.

    Args:
      function: the other one, which is imported by its name where it runs.
      cpus: how many Ray sets aside for a call.
      gpus: the same.
      retries: how often Ray repeats a call whose process or machine was lost.
    """
    import ray

    # Given here and not as options of a call, GPUs make Ray take a new process for each task.
    return ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=retries)(function).remote


def store(value: Any) -> Any:
    """Keeps a value in the cluster; returns its reference, which a task may fetch by `wait`."""
    import ray

    return ray.put(value)


def wait(references: Iterable[Any]) -> list[Any]:
    """Returns the values of references, to a task that keeps its CPU meanwhile; `ray.get` would lend it to another."""
    return [reference.future().result() for reference in references]


def cancel(reference: Any) -> None:
    """Ends a task: one that waits does not begin, and one that trains receives SIGINT."""
    import ray

    ray.cancel(reference, recursive=False)


def ended(references: Sequence[Any], timeout: float) -> Sequence[Any]:
    """Returns the references of those tasks that have ended, after at most `timeout` seconds."""
    import ray

    return ray.wait(list(references), num_returns=len(references), timeout=timeout)[0]


class Ending(NamedTuple):
    """The way in which a task ended for Ray.

    Attributes:
      how: `returned` a value, was `cancelled`, `raised` an exception, or was `lost` so often that Ray has given it up.
      value: what it returned.
      reason: why it raised or was lost.
      machine: where it raised.
    """

    how: Literal["returned", "cancelled", "raised", "lost"]
    value: Any = None
    reason: str = ""
    machine: str = ""


def ending(reference: Any) -> Ending:
    """Returns how a task ended, by its reference, which `ended` has returned."""
    import ray
    from ray.exceptions import RayError, RayTaskError, TaskCancelledError

    try:
        return Ending("returned", ray.get(reference))
    except TaskCancelledError:
        return Ending("cancelled")
    except RayTaskError as error:
        return Ending("raised", reason=_cause(error), machine=_raised_on(error))
    except RayError as error:
        return Ending("lost", reason=_cause(error))


def _raised_on(error: Exception) -> str:
    """The address of the machine on which a task raised an error, which only the text of the error names."""
    address = re.search(r"\bip=([^,)\s]+)", str(error))
    return address[1] if address else "a machine"


def _cause(error: Exception) -> str:
    """The last line of an error of Ray's, which names the cause."""
    return re.sub(r"\x1b\[\d+m", "", str(error) or repr(error)).strip().splitlines()[-1][:300]


class EventQueue:
    """The events on their way from the tasks to the sweep; they wait on its machine until they are taken out."""

    def __init__(self):
        """Starts an empty queue on this machine."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_EventList)
        self._actor: Any = actor.options(scheduling_strategy=here).remote()

    def put(self, events: Sequence[Any]) -> Any:
        """Sends events, in a task; returns a reference that `wait` takes."""
        return self._actor.put.remote(events)

    def take(self) -> Sequence[Any]:
        """Takes all events that have arrived.

        Raises:
          UsageError: the process in which they wait does not start.
        """
        import ray
        from ray.exceptions import RayActorError

        try:
            return ray.get(self._actor.take.remote())
        except RayActorError as error:
            raise UsageError(
                f"--launcher ray: Ray's Python on this machine cannot take part ({_cause(error)})"
            ) from error


class _EventList:
    """The list of events that the process of an `EventQueue` holds."""

    def __init__(self):
        self._events: list[Any] = []

    def put(self, events: Sequence[Any]) -> None:
        self._events += events

    def take(self) -> Sequence[Any]:
        events, self._events = self._events, []
        return events
