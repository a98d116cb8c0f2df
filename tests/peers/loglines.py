"""When dpo-train writes the lines of its steps: for the benches here."""
import contextlib
import os
import threading
import time


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
