"""The door to Ray: a cluster to work on, or one of our own that other machines cannot reach, and tasks on it.

Only this module imports Ray, or gRPC, and reads what they leave unwritten; `tests/sweep/test_ray_contract.py` says what
is relied on.
"""

import contextlib
import functools
import importlib.util
import logging
import os
import platform
import re
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import vaecli
from vaecli.config import UsageError
from vaecli.config.errors import one_line
from vaecli.runs.ownership import PRIVATE_NAME, private_folder
from vaecli.sweep.launcher import ClusterLost

_Step = TypeVar("_Step")

_ANSWER = 10
"""Seconds within which a cluster has to answer."""

_REFUSAL = 3
"""Seconds for which a part of a cluster may refuse to answer, as one does whose process has ended."""

_STEP = 0.2
"""Seconds after which whoever waits for what Ray does may do something else."""

_WATCH_POLL = 2
"""Seconds between two looks at whether the parts of a cluster are there."""

_PATIENCE = "RAY_gcs_rpc_server_reconnect_timeout_s"
"""The variable that says for how many seconds a head may be away which keeps its state elsewhere, and comes back."""

_FOLDER = "vae-ray-"
"""At the beginning of the name of the folder in which a Ray of our own lives."""

_SOCKET = "/session_2026-11-26_11-23-38_123456_1234567/sockets/plasma_store"
"""As long as the names of sockets that Ray puts in its folder."""

_LONGEST_SOCKET = 103
"""Bytes in the path of a socket, as every system takes them."""

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
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # What goes wrong is said by messages of our own.
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
def connected(address: str | None) -> Iterator["Watch"]:
    """Makes this process a driver of a cluster, or of a Ray that ends with it.

    Yields:
      What knows whether the cluster is still there.

    Raises:
      UsageError: no cluster answers there, or it does not accept us.
    """
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or address
        check(address)
    with contextlib.ExitStack() as cleanup:
        folder = ""
        if address is None:
            folder = cleanup.enter_context(_folder())
            os.environ |= {**_PRIVATE, "RAY_AUTH_TOKEN": _token()}
            _set_defaults(_PRIVATE_DEFAULTS)
        elif address != "auto":
            check_answers(address)
        _set_defaults(_DEFAULTS)
        import ray

        # Otherwise it prints to stdout, among the results, what our own messages say better.
        nowhere = cleanup.enter_context(open(os.devnull, "w"))
        cleanup.enter_context(contextlib.redirect_stdout(nowhere))
        try:
            _start(address, folder)
            with Watch(_parts()) as watch:
                yield watch
        except ClusterLost:
            raise  # To whatever is lost, Ray would say goodbye for a minute; its processes here end with this one.
        except BaseException:
            ray.shutdown()
            raise
        ray.shutdown()


@functools.cache
def _token() -> str:
    """Returns the secret of every Ray of our own: in one process, Ray reads it only once."""
    return secrets.token_hex(32)


@contextlib.contextmanager
def _folder() -> Iterator[str]:
    """Makes a folder for a Ray of our own, which lets every user of the machine write to it: nobody else gets there.

    Raises:
      UsageError: there is no place for one.
    """
    longest = _LONGEST_SOCKET - len(f"/{_FOLDER}{PRIVATE_NAME}{_SOCKET}")
    for parent in (os.path.abspath(os.environ.get("TMPDIR") or "/tmp"), "/tmp"):
        if len(os.fsencode(parent)) <= longest and os.access(parent, os.W_OK | os.X_OK):
            break
    else:
        raise UsageError(
            f"--launcher ray: TMPDIR must be a folder that can be written, with a path of at most {longest} bytes, "
            "since the sockets of Ray lie there"
        )
    with contextlib.ExitStack() as cleanup:
        try:
            folder = cleanup.enter_context(private_folder(Path(parent), _FOLDER))
        except OSError as error:
            raise UsageError(f"--launcher ray: {parent} cannot be written ({error.strerror})") from error
        yield str(folder)


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
        with contextlib.chdir(root), _silenced(2):
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
    if os.environ.get("RAY_USE_TLS", "0") != "0":
        return  # Only Ray knows the certificates.
    if _ask(address, wait_for_ready=True) != "answers":
        raise UsageError(f"--ray-address: no Ray cluster answers at {address}")


def _ask(address: str, *, wait_for_ready: bool = False) -> Literal["answers", "refuses", "is silent"]:
    """Asks a part of a cluster whether it is there.

    Args:
      address: of the part.
      wait_for_ready: whether one that refuses is asked again, as long as a silent one may take.
    """
    import grpc

    # A proxy that the environment names is for the world outside.
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        ask = channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            ask(b"", timeout=_ANSWER, wait_for_ready=wait_for_ready)
        except grpc.RpcError as error:
            code = error.code() if isinstance(error, grpc.Call) else None
            if code is grpc.StatusCode.DEADLINE_EXCEEDED:
                return "is silent"
            if code is grpc.StatusCode.UNAVAILABLE:
                return "refuses"
            # Any other code is an answer, for example that it wants a token.
    return "answers"


def _connect(address: str) -> Literal["answers", "refuses", "is silent"]:
    """Does as `_ask` where only Ray knows the certificates with which to ask."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER).close()
    except TimeoutError:
        return "is silent"
    except OSError:
        return "refuses"
    return "answers"


class Watch:
    """Looks, in a thread of its own, whether the parts of a cluster are there that a sweep cannot do without.

    Ray itself would wait for them for a minute, in the middle of any call, and then end the process.
    """

    def __init__(self, parts: Mapping[str, str]):
        """Does not look yet.

        Args:
          parts: the address of each, by what it is.
        """
        self.parts = parts
        self.lost = ""
        """The first part that was lost; nothing, while all are there."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_often, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()

    def follow(self, steps: Iterator[_Step]) -> Iterator[_Step | None]:
        """Yields what comes from an iterator that calls Ray, in a thread of its own; None where nothing comes in time.

        Raises:
          ClusterLost: a part of the cluster was lost; a call of Ray's may then never return.
        """
        end: Any = object()
        with contextlib.closing(ThreadPool(1)) as thread:
            while True:
                step = thread.apply_async(next, (steps, end))
                while not (step.ready() or self.lost):
                    step.wait(_STEP)
                    yield None
                if self.lost or (not step.successful() and self._look()):
                    raise ClusterLost(f"--launcher ray: {self.lost} no longer answers")
                if step.get() is end:
                    return
                yield step.get()

    def _look_often(self) -> None:
        while not (self.lost or self._ended.wait(_WATCH_POLL)):
            self._look()

    def _look(self) -> bool:
        parts = list(self.parts.items())
        lost = next((k for k, (_, address) in enumerate(parts) if self._is_lost(address)), None)
        if lost is not None:
            # One before it that has answered may be lost since then, and have taken it along.
            self.lost = next((part for part, address in parts[:lost] if self._is_lost(address)), parts[lost][0])
        return bool(self.lost)

    def _is_lost(self, address: str) -> bool:
        """Returns whether a part is silent, or refuses to answer for some seconds."""
        ask = _ask if os.environ.get("RAY_USE_TLS", "0") == "0" else _connect
        patience = os.environ.get(_PATIENCE, "")
        deadline = time.monotonic() + (int(patience) if patience.isdecimal() else _REFUSAL)
        while (answer := ask(address)) == "refuses" and time.monotonic() < deadline:
            if self._ended.wait(0.5):
                return False
        return answer != "answers"


def _parts() -> Mapping[str, str]:
    """Returns the parts of the cluster without which this driver's tasks come to nothing."""
    import ray

    context = ray.get_runtime_context()
    here = next(node for node in ray.nodes() if node["NodeID"] == context.get_node_id())
    return {
        f"the head of the cluster ({context.gcs_address})": context.gcs_address,
        f"Ray on {platform.node()}": f"{here['NodeManagerAddress']}:{here['NodeManagerPort']}",
    }


def shortage(cpus: float, gpus: float) -> str:
    """Says what the machines of the cluster lack for one task; nothing, where one of them is large enough."""
    import ray

    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    sizes = [(resources.get("CPU", 0), resources.get("GPU", 0)) for resources in machines]
    if any(have_cpus >= cpus and have_gpus >= gpus for have_cpus, have_gpus in sizes):
        return ""
    wanted = f"CPUs: {cpus:g}" + (f", GPUs: {gpus:g}" if gpus else "")
    best = max(sizes, key=lambda size: size[::-1] if gpus else size, default=(0, 0))
    return f"no machine is large enough for a run ({wanted}); the largest has CPUs: {best[0]:g}, GPUs: {best[1]:g}"


def slots(cpus: float, gpus: float) -> int:
    """Returns how many tasks the machines of the cluster can have at the same time, at least one."""
    import ray

    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    # A hundredth of a CPU is the least that is set aside; sums of such parts are rounded.
    of_each = (
        min(int(resources.get(kind, 0) / amount + 1e-6) for kind, amount in (("CPU", cpus), ("GPU", gpus)) if amount)
        for resources in machines
    )
    return max(sum(of_each), 1)


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
