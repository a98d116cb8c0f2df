"""What the benches share: how a program is run, with which environment, and when dpo-train writes the lines of its steps."""
import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

BIN = pathlib.Path(os.environ.get("DPO_BIN", pathlib.Path(__file__).resolve().parents[2] / "bin")).resolve()


def environment(**more):
    """Ours without what would set threads, kernels or memory, and nothing fetched."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS_", "OMP_", "GOMP_", "MALLOC_"))}
    return {**plain, "HF_HUB_OFFLINE": "1", **more}


def run(*command, data=b""):
    """Seconds of a command with data as its input, and its peak memory in MB. If it fails, what it said is shown and all ends."""
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        child = subprocess.Popen(list(map(str, command)), env=environment(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said)
        with contextlib.suppress(BrokenPipeError), child.stdin:
            child.stdin.write(data)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            fail(command[0], said)
    return seconds, usage.ru_maxrss / 1024


def fail(name, said):
    """End with what a program said at last."""
    said.seek(0)
    sys.exit(f"{pathlib.Path(name).name} failed:\n" + said.read().decode(errors="replace")[-4000:])


@contextlib.contextmanager
def step_times(log):
    """Within it a dpo-train logs to the path `log`; the list it gives holds, after it, the time of each step's line."""
    times = []
    os.mkfifo(log)

    def watch():
        with open(log) as stream:
            times.extend(time.perf_counter() for line in stream if "grad_norm" in line)

    watcher = threading.Thread(target=watch, daemon=True)  # a program that fails may never open the log
    watcher.start()
    yield times
    watcher.join()
    log.unlink()
