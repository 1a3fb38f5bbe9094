"""`python -m vaecli` is `vae`, and both begin here."""

import os
import signal
import sys
import threading


def _interrupt_again(dropped: "sys.UnraisableHookArgs") -> None:
    # Python drops an exception that is raised in some of its own callbacks, such as those of an import, so Ctrl-C has
    # to come again a little later.
    if dropped.exc_type is KeyboardInterrupt:
        threading.Timer(0.02, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(dropped)


def run() -> int:
    """Runs the command line of this process, with its three standard streams open."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # Closed by the caller: a data file must not become our stderr.
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")
    sys.unraisablehook = _interrupt_again
    try:
        from vaecli.startup import prepare

        prepare()
        from vaecli.cli.main import main

        return main()
    except BaseException as error:
        # Python 3.11 turns an interrupt that comes while a class is made into a RuntimeError that it causes.
        if not isinstance(error.__cause__ or error, KeyboardInterrupt):
            raise
        print("vae: stopped", file=sys.stderr)
        return 130
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                # Python would try again at its end, and then change the exit code.
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # The working folder, where a file would hide a library.
    sys.exit(run())
