"""A Ray to work on: that of a cluster, or one of our own that other machines cannot reach."""

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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import vaecli
from vaecli.config import UsageError
from vaecli.config.errors import one_line

_ANSWER = 10
"""Seconds within which a cluster has to answer."""

_STORE = 128 * 2**20
"""Bytes of shared memory for a Ray of our own; what passes through it are events and summaries."""


def check(address: str | None) -> None:
    """Whether Ray is there, and an address can be one: `HOST:PORT`, `auto`, or none.

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
      UsageError: no cluster answers there, or it will not have us.
    """
    temporary = ""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or address
        check(address)
    if address is None:
        temporary = tempfile.mkdtemp(prefix="vae-ray-", dir="/tmp")  # Names of sockets in it must be short.
        # Read when Ray is imported: as on systems where it is for one machine alone, it listens on loopback.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        # Its processes run code for whoever knows the token, which is written nowhere.
        os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN"] = "token", secrets.token_hex(32)
        os.environ.setdefault("RAY_worker_niceness", "0")
        os.environ.setdefault("RAY_task_oom_retries", "3")
    elif address != "auto":
        answers(address)
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "2")  # Who answers does so at once.
    # How long a process gets task after task without being asked for anew, which idles another machine for 0.1 s.
    os.environ.setdefault("RAY_worker_lease_timeout_milliseconds", "10000")
    import ray

    here = {"object_store_memory": _STORE, "include_dashboard": False, "_temp_dir": temporary} if temporary else {}
    handler = signal.getsignal(signal.SIGTERM)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        # To stdout, among the results, it would print what we tell better.
        try:
            # It puts the working folder in front of the modules of tasks, where a file would hide a library.
            root = Path(vaecli.__file__).parents[1]
            try:
                with contextlib.chdir(root), _silent(2) if address else contextlib.nullcontext():
                    ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **here)
            except Exception as error:
                raise UsageError(_why_not(address, error)) from error
            finally:
                signal.signal(signal.SIGTERM, handler)  # Ray has put its own there.
            yield
        finally:
            ray.shutdown()
            for _ in range(20 if temporary else 0):
                shutil.rmtree(temporary, ignore_errors=True)
                if not os.path.exists(temporary):
                    break
                time.sleep(0.1)  # One of its processes still writes there.


@contextlib.contextmanager
def _silent(descriptor: int) -> Iterator[None]:
    """Leads what libraries write by themselves nowhere; what is wrong they raise, too."""
    kept, nowhere = os.dup(descriptor), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    try:
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)
        os.close(nowhere)


def lack(cpus: float, gpus: float) -> str:
    """What the machines of the cluster lack for one task; nothing, where one of them is large enough.

    Raises:
      UsageError: the head of the cluster does not answer; Ray would end this process without a word of ours.
    """
    import ray

    answers(ray.get_runtime_context().gcs_address)
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    have = [(of.get("CPU", 0), of.get("GPU", 0)) for of in machines]
    if any(c >= cpus and g >= gpus for c, g in have):
        return ""
    wanted = f"CPUs: {cpus:g}" + (f", GPUs: {gpus:g}" if gpus else "")
    best = max(have, key=lambda of: of[::-1] if gpus else of, default=(0, 0))
    return f"no machine is large enough for a run ({wanted}); the largest has CPUs: {best[0]:g}, GPUs: {best[1]:g}"


def answers(address: str) -> None:
    """Whether something speaks gRPC there; Ray itself would try for minutes, and not say what is wrong.

    Raises:
      UsageError: nothing does.
    """
    import grpc

    if os.environ.get("RAY_USE_TLS", "0") != "0":
        return  # Whose certificates are Ray's matter.
    with grpc.insecure_channel(address) as channel:
        ask = channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            ask(b"", timeout=_ANSWER, wait_for_ready=True)
        except grpc.RpcError as error:
            # Any other code is an answer, that it wants a token among them.
            if isinstance(error, grpc.Call) and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise UsageError(f"--ray-address: no Ray cluster answers at {address}") from None


def _why_not(address: str | None, error: Exception) -> str:
    if isinstance(error, ConnectionError) and address == "auto":
        return "--ray-address: no Ray cluster was found on this machine; 'ray start' makes it a part of one"
    if isinstance(error, ConnectionError):
        return f"--ray-address: {address} is no Ray cluster that takes us; is the port that of the head, and the token?"
    what = f"--ray-address: {address}" if address else "--launcher ray: Ray does not start here"
    return f"{what} ({one_line(error, 300, with_type=False)})"


def machine() -> str:
    """The name of this machine and of its node in the cluster."""
    import ray

    return f"{platform.node()} ({ray.get_runtime_context().get_node_id()[:8]})"


def here() -> Any:
    """A strategy that places things on this machine."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
