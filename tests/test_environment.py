"""The environment as an input: refused where a run would not be what it says, and recorded where it may be."""

import contextlib
import os
import re
import subprocess
import sys

import jax
import pytest

from vaecli import Config, UsageError, startup, train
from vaecli.environment import (
    PINNED,
    check_in_another_process,
    differing,
    notes,
    recorded_environment,
    require_default_jax,
    threads,
)

HARMLESS = re.findall(
    r"\w+",
    """
check_vma jax2tf_associative_scan_reductions jax2tf_default_native_serialization jax_allow_f16_reductions
jax_auto_pcast jax_backend_target jax_bcoo_cusparse_lowering jax_captured_constants_report_frames
jax_captured_constants_warn_bytes jax_check_proxy_envs jax_compilation_cache_check_contents
jax_compilation_cache_dir jax_compilation_cache_expect_pgle jax_compilation_cache_include_metadata_in_key
jax_compilation_cache_max_size jax_compiler_detailed_logging_min_ops jax_cpu_collectives_implementation
jax_cpu_enable_async_dispatch jax_cpu_get_global_topology_timeout_minutes
jax_cpu_get_local_topology_timeout_minutes jax_cross_host_transfer_socket_address
jax_cross_host_transfer_timeout_seconds jax_cross_host_transfer_transfer_size jax_cross_host_transport_addresses
jax_cuda_visible_devices jax_debug_leaked_clients_on_clear_backends jax_debug_log_modules jax_default_device
jax_disable_bwd_checks jax_disable_vmap_shmap_error jax_disallow_mesh_context_manager jax_distributed_debug
jax_distributed_verify_secure_credentials jax_dump_ir_modes jax_dump_ir_to jax_embedded_constants_max_bytes
jax_enable_checks jax_enable_compilation_cache jax_enable_preemption_service jax_enable_recoverability
jax_experimental_unsafe_xla_runtime_errors jax_explain_cache_misses jax_export_calling_convention_version
jax_export_deserialize_expired_versions jax_export_ignore_forward_compatibility
jax_force_dcn_cross_host_transfers jax_hlo_source_file_canonicalization_regex jax_include_debug_info_in_dumps
jax_include_full_tracebacks_in_locations jax_log_checkpoint_residuals jax_log_compiles jax_logging_level
jax_mock_gpu_topology jax_mosaic_allow_hlo jax_mosaic_unzip_debug_locations jax_mtls_ca_file jax_mtls_cert_file
jax_mtls_key_file jax_mtls_peer_uri_prefix jax_mutable_array_checks jax_num_cpu_devices jax_numpy_rank_promotion
jax_oneapi_visible_devices jax_pallas_auto_assign_collective_ids jax_pallas_auto_assign_collective_ids_limit
jax_pallas_enable_debug_checks jax_pallas_poison_buffers jax_pallas_use_mosaic_gpu jax_pallas_verbose_errors
jax_persistent_cache_enable_xla_caches jax_persistent_cache_min_compile_time_secs
jax_persistent_cache_min_entry_size_bytes jax_pgle_aggregation_percentile jax_pgle_profiling_runs
jax_pjrt_client_create_options jax_platform_name jax_platforms jax_pprint_use_color
jax_ragged_dot_use_gpu_pallas_triton_lowering jax_ragged_dot_use_ragged_dot_instruction
jax_raise_on_ppermute_sort_diff jax_raise_persistent_cache_errors jax_refs_to_pins
jax_remove_custom_partitioning_ptr_from_cache_key jax_remove_size_one_mesh_axis_from_type
jax_rocm_visible_devices jax_send_traceback_to_runtime jax_serialization_version jax_share_binary_between_hosts
jax_share_binary_between_hosts_timeout_ms jax_sort_devices_by_process_index jax_source_url_schema
jax_traceback_filtering jax_traceback_in_locations_limit jax_tracer_error_num_traceback_frames
jax_use_cpp_shard_args jax_use_emit_pipeline_primitive jax_use_magma jax_use_shardy_partitioner jax_xla_backend
jax_xla_profile_version mock_num_gpu_processes
""",
)
"""The other options: how jax compiles, keeps, dumps, logs and distributes, or what this program does not use."""


@contextlib.contextmanager
def option(name, value):
    before = jax.config.values[name]
    jax.config.update(name, value)
    try:
        yield
    finally:
        jax.config.update(name, before)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jax_enable_x64", True),
        ("jax_default_matmul_precision", "bfloat16"),
        ("jax_default_prng_impl", "rbg"),
        ("jax_threefry_partitionable", False),
        ("jax_random_seed_offset", 1),
        ("jax_numpy_dtype_promotion", "strict"),
        ("jax_debug_nans", True),
        ("jax_disable_jit", True),
        ("jax_transfer_guard", "disallow"),
        ("jax_softmax_custom_jvp", True),
    ],
)
def test_an_option_that_changes_digits_is_refused_by_name(name, value):
    require_default_jax()
    with option(name, value), pytest.raises(UsageError, match=rf"{name}: is .*jax's default, .*{name.upper()}"):
        require_default_jax()
    require_default_jax()


@pytest.mark.parametrize("value", ["allow", "warn", "raise"])
def test_rank_promotion_is_the_callers(value):
    with option("jax_numpy_rank_promotion", value):
        require_default_jax()


def test_options_of_one_thread_count_and_nothing_is_written(small, tmp_path):
    with jax.enable_x64(True), pytest.raises(UsageError, match="jax_enable_x64"):
        train(Config(**small), runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_device_that_is_not_there(monkeypatch):
    def missing():
        raise AssertionError

    monkeypatch.setattr(jax, "devices", missing)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    with pytest.raises(UsageError, match=r"^JAX_PLATFORMS=cuda: no such device can be used here$"):
        require_default_jax()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("JAX_PLATFORMS", "foo", "JAX_PLATFORMS=foo: no such device can be used here"),
        ("XLA_FLAGS", "--xla_nonsense=1", "XLA_FLAGS: XLA cannot read --xla_nonsense=1 (Unknown flag"),
        pytest.param(
            *("XLA_FLAGS", "--xla_cpu_enable_fast_math=maybe", "XLA_FLAGS: XLA cannot read"), marks=pytest.mark.long
        ),
        pytest.param(
            *("XLA_FLAGS", "a file that is not there", "XLA_FLAGS: XLA cannot read a file that is not there (Could"),
            marks=pytest.mark.long,
        ),
    ],
)
def test_a_sweep_is_refused_before_it_starts_a_process(monkeypatch, name, value, message):
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError) as error:
        check_in_another_process()
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_a_command_is_refused_in_one_line(small_data, tmp_path):
    command = [sys.executable, "-m", "vaecli", "train", "--data-dir", str(small_data), "--epochs", "1"]
    variables = {"JAX_PLATFORMS": "foo", "JAX_ENABLE_X64": "maybe"}
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | variables, capture_output=True, text=True)
    lines = done.stderr.splitlines()
    assert done.returncode == 2
    assert lines[0] == "vae: JAX_ENABLE_X64: is set and has no effect ('vae docs environment')"
    assert lines[1].startswith("vae: JAX_PLATFORMS=foo: ")
    assert len(lines) == 2
    assert not list(tmp_path.iterdir())


def test_what_digits_may_depend_on_is_recorded(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith(("XLA_", "TF_")):
            monkeypatch.delenv(name)
    plain = recorded_environment()
    assert plain.keys() == {"device", "cpu", "threads"}
    assert (plain["device"], plain["threads"]) == ("cpu", threads())
    (tmp_path / "flags").write_text("--xla_cpu_enable_fast_math=true")
    monkeypatch.setenv("PJRT_NPROC", "3")
    monkeypatch.setenv("XLA_FLAGS", str(tmp_path / "flags"))
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    recorded = recorded_environment()
    added = {"threads": 3, "XLA_FLAGS": "--xla_cpu_enable_fast_math=true", "NVIDIA_TF32_OVERRIDE": "1"}
    assert recorded == plain | added
    assert differing(plain, recorded) == [
        f"threads {plain['threads']}, now 3",
        "NVIDIA_TF32_OVERRIDE unset, now 1",
        "XLA_FLAGS unset, now --xla_cpu_enable_fast_math=true",
    ]
    assert differing({}, recorded) == differing(plain, plain) == []


def test_more_threads_than_a_process_may_have(monkeypatch):
    monkeypatch.setenv("PJRT_NPROC", "100000")
    with pytest.raises(UsageError, match="PJRT_NPROC=100000: XLA would start as many threads"):
        require_default_jax()


@pytest.mark.parametrize("text", ["", "0", "-1", "two", "1.5", "٣", "9" * 30])
def test_threads_that_are_no_number(monkeypatch, text):
    monkeypatch.delenv("PJRT_NPROC", raising=False)
    available = threads()
    monkeypatch.setenv("PJRT_NPROC", text)
    assert threads() == available


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({}, []),
        ({"JAX_ENABLE_X64": "False", "JAX_DEFAULT_MATMUL_PRECISION": "", "JAX_THREEFRY_PARTITIONABLE": "on"}, []),
        ({"JAX_ENABLE_X64": "1"}, ["JAX_ENABLE_X64: is set and has no effect ('vae docs environment')"]),
        (
            {"NPY_DISABLE_CPU_FEATURES": "AVX2", "JAX_DEBUG_NANS": "yes", "JAX_ENABLE_X64": "0"},
            ["JAX_DEBUG_NANS, NPY_DISABLE_CPU_FEATURES: are set and have no effect ('vae docs environment')"],
        ),
    ],
)
def test_what_has_no_effect_is_said_once(monkeypatch, variables, line):
    monkeypatch.setattr(startup, "set_aside", variables)
    monkeypatch.setattr(startup, "unused_cache", "")
    assert notes() == line


def test_every_option_of_the_installed_jax_is_known():
    """A new one must be looked at: whether it can change a digit."""
    assert jax.config.values.keys() <= {*PINNED, *HARMLESS}
    assert len(PINNED.keys() & jax.config.values.keys()) > 35
