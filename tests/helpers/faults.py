"""Faults of a disk, and kills, at a chosen call of the C library: a library loaded before it, and its driver."""

import json
import os
import shutil
import signal
import subprocess
import sys
from typing import NamedTuple

OPERATIONS = ("open", "write", "fsync", "rename", "unlink", "mkdir")
KILL = -1

_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static char root[4096];
static int operation = -1, error, lasting;
static long nth, calls;

void fault_arm(const char *where, int which, long number, int what, int stays) {
  snprintf(root, sizeof root, "%s", where);
  calls = 0, nth = number, error = what, lasting = stays, operation = which;
}
long fault_disarm(void) { operation = -1; return calls; }

__attribute__((constructor)) static void from_environment(void) {
  const char *text = getenv("FAULT");
  static char where[4096];
  int which, what, stays; long number;
  if (text && sscanf(text, "%d %ld %d %d %4095[^\n]", &which, &number, &what, &stays, where) == 5)
    fault_arm(where, which, number, what, stays);
}

static int below(const char *path) {
  char resolved[4200], link[64], target[4096];
  int descriptor, used = 0;
  if (!path) return 0;
  if (sscanf(path, "/proc/self/fd/%d%n", &descriptor, &used) == 1) {
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, target, sizeof target - 1);
    if (length < 0) return 0;
    target[length] = 0;
    snprintf(resolved, sizeof resolved, "%s%s", target, path + used);
    path = resolved;
    return strncmp(path, root, strlen(root)) == 0;
  }
  return strncmp(path, root, strlen(root)) == 0;
}

static int fails(int which, const char *path) {
  if (which != operation || !below(path)) return 0;
  long call = __sync_add_and_fetch(&calls, 1);
  if (!nth || call < nth || (call > nth && !lasting)) return 0;
  if (error < 0) { kill(getpid(), SIGKILL); pause(); }
  errno = error;
  return 1;
}

static int fails_at(int which, int descriptor) {
  char link[64], target[4096];
  if (which != operation) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t length = readlink(link, target, sizeof target - 1);
  if (length < 0) return 0;
  target[length] = 0;
  return fails(which, target);
}

#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); if (!real) real = dlsym(RTLD_NEXT, #name);
#define OPEN(name) int name(const char *path, int flags, ...) { \
  REAL(int, name, const char *, int, ...) va_list rest; va_start(rest, flags); int mode = va_arg(rest, int); \
  va_end(rest); return fails(0, path) ? -1 : real(path, flags, mode); }
OPEN(open)
OPEN(open64)
ssize_t write(int descriptor, const void *data, size_t size) {
  REAL(ssize_t, write, int, const void *, size_t)
  return fails_at(1, descriptor) ? -1 : real(descriptor, data, size);
}
int fsync(int descriptor) { REAL(int, fsync, int) return fails_at(2, descriptor) ? -1 : real(descriptor); }
int rename(const char *from, const char *to) {
  REAL(int, rename, const char *, const char *) return fails(3, to) ? -1 : real(from, to);
}
int unlink(const char *path) { REAL(int, unlink, const char *) return fails(4, path) ? -1 : real(path); }
int mkdir(const char *path, mode_t mode) {
  REAL(int, mkdir, const char *, mode_t) return fails(5, path) ? -1 : real(path, mode);
}
"""

_DRIVER = """
import contextlib, ctypes, io, json, os, sys
from vaecli.startup import prepare
prepare()
from vaecli.cli.main import main
library, channel = ctypes.CDLL(sys.argv[1]), os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for line in sys.stdin:
    argv, fault, root = json.loads(line)
    out, err = io.StringIO(), io.StringIO()
    os.environ["FAULT"] = " ".join(map(str, [*fault, root])) if fault else ""
    if fault:
        library.fault_arm(root.encode(), *[fault[0], ctypes.c_long(fault[1]), *fault[2:]])
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(argv)
    calls = library.fault_disarm()
    print(json.dumps([code, calls, out.getvalue(), err.getvalue()]), file=channel, flush=True)
"""


class Fault(NamedTuple):
    """A call that fails.

    Attributes:
      operation: which, as a place in `OPERATIONS`.
      nth: which of those below the root; 0 for none, so that they are only counted.
      error: the number of its error, or KILL.
      lasting: whether all later ones fail, too.
    """

    operation: int
    nth: int
    error: int = 0
    lasting: bool = False

    def __str__(self):
        how = "killed" if self.error == KILL else os.strerror(self.error)
        return f"{OPERATIONS[self.operation]} {self.nth}{' and later' if self.lasting else ''}: {how}"


class Ending(NamedTuple):
    """How a command ended: its exit code, or minus the signal; the calls counted; and what it printed."""

    code: int
    calls: int
    out: str
    err: str


class Driver:
    """Runs commands one after the other in one process, which is started again when it is killed."""

    def __init__(self, library, env):
        self._library, self._env = library, env
        self._process = None

    def run(self, argv, root, fault=None):
        """Runs a command, with a fault below a folder."""
        if self._process is None:
            env = self._env | {"LD_PRELOAD": str(self._library)}
            command = [sys.executable, "-c", _DRIVER, str(self._library)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            self._process = subprocess.Popen(command, env=env, **pipes)
        arguments = None if fault is None else [fault.operation, fault.nth, fault.error, int(fault.lasting)]
        self._process.stdin.write(json.dumps([argv, arguments, str(root)]) + "\n")
        self._process.stdin.flush()
        if line := self._process.stdout.readline():
            return Ending(*json.loads(line))
        _, err = self._process.communicate(timeout=60)
        code, self._process = self._process.returncode, None
        assert code == -signal.SIGKILL, err
        return Ending(code, 0, "", err)

    def close(self):
        """Ends the process."""
        if self._process is not None:
            self._process.communicate(timeout=60)


def build(folder):
    """Compiles the library; returns None where there is no compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        return None
    library = folder / "faults.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), "-x", "c", "-", "-ldl"]
    subprocess.run(command, input=_SOURCE, text=True, check=True, capture_output=True)
    return library
