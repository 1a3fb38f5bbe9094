"""What `sweep/cluster.py` relies on in Ray and gRPC, looked up without a cluster; `test_ray.py` sweeps with some.

An upgrade that takes one of these away is named here, where a sweep would fail somewhere in the middle.
"""

import inspect
import ipaddress
import itertools
import mmap
import re
import socket
import threading
from concurrent import futures
from pathlib import Path

import pytest
from helpers.ray_nodes import NO_RAY

from vaecli.config import UsageError
from vaecli.sweep import cluster
from vaecli.sweep.launcher import ClusterLost

pytestmark = pytest.mark.skipif(NO_RAY, reason="Ray is not installed")


@pytest.fixture(scope="module")
def ray():
    import ray

    assert not ray.is_initialized()
    yield ray
    assert not ray.is_initialized()


def parameters(function):
    return set(inspect.signature(function).parameters)


def test_how_a_driver_starts(ray):
    assert {"address", "log_to_driver", "logging_level", "object_store_memory", "include_dashboard"} <= parameters(
        ray.init
    )
    # The folder of the session is among the keywords that have no name in the signature.
    assert 'kwargs.pop("_temp_dir"' in inspect.getsource(ray.init)
    assert callable(ray.shutdown)


def test_what_a_driver_asks(ray):
    from ray.runtime_context import RuntimeContext as context

    assert inspect.signature(ray.get_runtime_context).return_annotation is context
    assert isinstance(context.gcs_address, property)
    assert callable(context.get_node_id)
    assert {"num_returns", "timeout"} <= parameters(ray.wait)
    assert "recursive" in parameters(ray.cancel)
    assert callable(ray.nodes)
    assert callable(ray.put)
    assert callable(ray.get)
    assert callable(ray.ObjectRef.future), "by which a task waits and keeps its CPU"


def test_the_names_of_sockets(ray):
    """Their paths have a limit, and a folder of our own in front of them."""
    from ray._private import node, utils

    session, sockets, name = cluster._SOCKET.strip("/").split("/")
    source = inspect.getsource(node)
    assert '"%Y-%m-%d_%H-%M-%S_%f"' in source
    assert 'f"session_{date_str}_{os.getpid()}"' in source
    assert re.fullmatch(r"session_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_\d{6}_\d{7}", session)
    assert (sockets, name) == ("sockets", "plasma_store")
    utils.validate_socket_filepath("/" + "x" * (cluster._LONGEST_SOCKET - 1))


def test_options_of_tasks_and_actors(ray):
    """Ray checks their names when they are given."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def work():
        pass

    task = ray.remote(num_cpus=0.5, num_gpus=0.25, max_retries=3)(work)
    assert callable(task.remote)
    actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(cluster._EventList)
    assert callable(actor.options(scheduling_strategy=NodeAffinitySchedulingStrategy("0" * 56, soft=False)).remote)
    with pytest.raises(ValueError, match="Invalid option"):
        ray.remote(num_cpu=1)(work)


def test_errors(ray):
    """`cluster.ending` catches the general one last."""
    from ray.exceptions import RayActorError, RayError, RayTaskError, TaskCancelledError

    assert issubclass(TaskCancelledError, RayError)
    assert issubclass(RayTaskError, RayError)
    assert issubclass(RayActorError, RayError)
    assert not issubclass(TaskCancelledError, RayTaskError)
    assert not issubclass(RayTaskError, TaskCancelledError)
    assert issubclass(ray.exceptions.NodeDiedError, RayError), "a lost machine"
    assert issubclass(ray.exceptions.WorkerCrashedError, RayError), "a lost process"


def test_the_text_of_an_error_names_the_machine_and_the_cause(ray):
    """As an error that was raised in a task comes back: it is of the class of its cause, too."""
    cause = ModuleNotFoundError("No module named 'vaecli'")
    trace = f'Traceback (most recent call last):\n  File "x.py", line 1, in f\n    import vaecli\n{cause!r}'
    error = ray.exceptions.RayTaskError("f", trace, cause, proctitle="ray::f", pid=7, ip="10.0.0.3")
    raised = error.as_instanceof_cause()
    assert isinstance(raised, ModuleNotFoundError)
    assert isinstance(raised, ray.exceptions.RayTaskError)
    assert cluster._raised_on(raised) == "10.0.0.3"
    assert cluster._cause(raised) == repr(cause)


def test_addresses(ray, monkeypatch, tmp_path):
    """No cluster answers to `local`; that there is none for `auto` is an error which `cluster._why_not` knows."""
    from ray._private import services

    assert "services.canonicalize_bootstrap_address(address" in inspect.getsource(ray.init)
    assert services.canonicalize_bootstrap_address("local") is None
    assert services.canonicalize_bootstrap_address("10.0.0.3:6379") == "10.0.0.3:6379"
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(services, "find_gcs_addresses", set)
    with pytest.raises(ConnectionError):
        services.canonicalize_bootstrap_address("auto", str(tmp_path))


def test_a_ray_of_our_own_listens_on_loopback(ray, monkeypatch):
    """What RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER is set to 0 for."""
    from ray._private import ray_constants, services

    assert ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR == "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
    assert ray_constants.ENABLE_RAY_CLUSTER
    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", False)
    assert ipaddress.ip_address(services.get_node_ip_address()).is_loopback


PYTHON = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "_private/ray_constants.py",
    "RAY_NUM_REDIS_GET_RETRIES": "_private/ray_constants.py",
    "RAY_USAGE_STATS_ENABLED": "_common/usage/usage_constants.py",
    "RAY_ADDRESS": "_private/ray_constants.py",
    "RAY_USE_TLS": "_common/tls_utils.py",
}
"""The variables that Ray's Python reads, and where."""

BINARIES = {
    "RAY_AUTH_MODE": "_raylet.so",
    "RAY_AUTH_TOKEN": "_raylet.so",
    "RAY_BACKEND_LOG_LEVEL": "_raylet.so",
    "gcs_rpc_server_reconnect_timeout_s": "_raylet.so",
    "worker_niceness": "core/src/ray/raylet/raylet",
    "task_oom_retries": "_raylet.so",
    "worker_lease_timeout_milliseconds": "_raylet.so",
}
"""Those that its binaries read, for which it puts RAY_ before the name of a setting."""


def test_all_variables_are_known():
    names = set(re.findall(r'"(RAY_\w+)"', Path(cluster.__file__).read_text()))
    assert names == {*PYTHON, *(name if name.startswith("RAY_") else f"RAY_{name}" for name in BINARIES)}


@pytest.mark.parametrize("name", PYTHON)
def test_variables_that_python_reads(ray, name):
    assert f'"{name}"' in (Path(ray.__file__).parent / PYTHON[name]).read_text()


def holds(path, text):
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(text.encode()) >= 0


@pytest.mark.parametrize("name", BINARIES)
def test_variables_that_binaries_read(ray, name):
    assert holds(Path(ray.__file__).parent / BINARIES[name], name)


@pytest.mark.parametrize("name", ["NodeID", "Alive", "Resources", "NodeManagerAddress", "NodeManagerPort"])
def test_what_is_known_of_a_node(ray, name):
    """The keys of what `ray.nodes` returns."""
    assert holds(Path(ray.__file__).parent / "_raylet.so", name)


def test_the_nodes_of_the_tests():
    """`helpers/ray_nodes.py` and `bench/ray_scale.py` start their nodes so."""
    from ray.cluster_utils import Cluster

    assert {"shutdown_at_exit", "initialize_head", "head_node_args"} <= parameters(Cluster)
    assert callable(Cluster.add_node)
    assert isinstance(Cluster.address, property)


@pytest.fixture
def serve():
    """Starts gRPC servers on free ports."""
    import grpc

    def start(*handlers, port="0"):
        server = grpc.server(futures.ThreadPoolExecutor(1))
        address = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
        server.add_generic_rpc_handlers(handlers)
        server.start()
        start.servers[address] = server
        return address

    start.servers = {}
    yield start
    for server in start.servers.values():
        server.stop(None).wait()


def test_whatever_speaks_grpc_answers(serve, monkeypatch):
    """One that has no health service, as one that wants a token first, is something that answers."""
    monkeypatch.setattr(cluster, "_ANSWER", 5)
    cluster.check_answers(serve())


def test_the_health_service_answers(serve):
    import grpc

    asked = threading.Event()

    class Health(grpc.GenericRpcHandler):
        def service(self, details):
            if details.method == "/grpc.health.v1.Health/Check":
                asked.set()
                return grpc.unary_unary_rpc_method_handler(lambda request, context: b"\x08\x01")
            return None

    cluster.check_answers(serve(Health()))
    assert asked.is_set()


@pytest.fixture
def hasty(monkeypatch):
    """A watch that looks often and waits for nobody."""
    for name, seconds in (("_ANSWER", 0.3), ("_REFUSAL", 0.1), ("_WATCH_POLL", 0.05), ("_STEP", 0.01)):
        monkeypatch.setattr(cluster, name, seconds)
    monkeypatch.delenv("RAY_USE_TLS", raising=False)
    monkeypatch.delenv(cluster._PATIENCE, raising=False)


@pytest.mark.parametrize("tls", ["0", "1"])
def test_a_part_that_is_lost(serve, hasty, monkeypatch, tls):
    """What calls Ray may then hang for ever, or fail; whoever follows it hears of the loss, and of nothing else."""
    monkeypatch.setenv("RAY_USE_TLS", tls)
    server = socket.create_server(("127.0.0.1", 0)) if tls == "1" else None
    lost = f"127.0.0.1:{server.getsockname()[1]}" if server else serve()
    waits = threading.Event()

    def steps():
        yield 1
        yield 2
        server.close() if server else serve.servers[lost].stop(None).wait()
        waits.wait()

    def fails():
        yield 1
        raise ValueError

    with cluster.Watch({"one": serve(), "other": lost}) as watch:
        followed = watch.follow(steps())
        assert list(itertools.islice((step for step in followed if step), 2)) == [1, 2]
        with pytest.raises(ClusterLost, match=r"^--launcher ray: other no longer answers$"):
            list(followed)
        assert watch.lost == "other"
    waits.set()
    # Before the watch has looked.
    followed = cluster.Watch({"other": lost}).follow(fails())
    with pytest.raises(ClusterLost, match="other no longer answers"):
        list(followed)


def test_all_parts_are_there(serve, hasty):
    def fails():
        yield 1
        raise UsageError("a reason")

    with cluster.Watch({"one": serve()}) as watch:
        assert [step for step in watch.follow(iter([1, 2])) if step] == [1, 2]
        with pytest.raises(UsageError, match="a reason"):
            list(watch.follow(fails()))
        assert not watch.lost


def test_a_part_that_is_silent_is_lost(hasty):
    with socket.create_server(("127.0.0.1", 0)) as server:
        watch = cluster.Watch({"it": f"127.0.0.1:{server.getsockname()[1]}"})
        assert watch._look()
        assert watch.lost == "it"


def test_of_parts_that_are_lost_at_once_the_first_is_named(serve, hasty, monkeypatch):
    """Though it had answered before the other one was asked."""
    one, other = serve(), serve()
    serve.servers[other].stop(None).wait()
    ask = cluster._ask

    def asked(address, **options):
        if address == other:
            serve.servers[one].stop(None).wait()
        return ask(address, **options)

    monkeypatch.setattr(cluster, "_ask", asked)
    watch = cluster.Watch({"one": one, "other": other})
    assert watch._look()
    assert watch.lost == "one"


def test_a_head_that_may_come_back(serve, hasty, monkeypatch):
    """It has the seconds that Ray's own variable gives it."""
    address = serve()
    serve.servers[address].stop(None).wait()
    monkeypatch.setenv(cluster._PATIENCE, "60")
    monkeypatch.setattr(cluster, "_ANSWER", 5)
    back = threading.Timer(0.3, serve, kwargs={"port": address.partition(":")[2]})
    back.start()
    watch = cluster.Watch({"head": address})
    assert not watch._look()
    assert not watch.lost
    back.join()


def test_no_proxy_stands_before_a_cluster(serve, hasty, monkeypatch):
    monkeypatch.setattr(cluster, "_ANSWER", 5)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    cluster.check_answers(serve())


def test_a_port_that_is_silent_does_not_answer(monkeypatch):
    monkeypatch.setattr(cluster, "_ANSWER", 0.3)
    monkeypatch.delenv("RAY_USE_TLS", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(UsageError, match=f"no Ray cluster answers at {address}"):
            cluster.check_answers(address)
        monkeypatch.setenv("RAY_USE_TLS", "1")
        cluster.check_answers(address)
