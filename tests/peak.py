#!/usr/bin/env python3
"""Run dpo-train, and compare the peak of its memory with what its --dry-run says.

    peak.py DPO-TRAIN ARGUMENTS...

The two may differ by a twentieth and 8 MB. Prints both; an error if they differ by more, or if the dry run itself takes much.
"""
import json
import resource
import subprocess
import sys


def peak():
    """Of the children so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def main():
    command = sys.argv[1:]
    told = json.loads(subprocess.run(command + ["--dry-run"], check=True, stdout=subprocess.PIPE).stdout)["memory"]
    dry = peak()
    subprocess.run(command + ["-q", "-o", "/dev/null"], check=True)
    took, total = peak(), told["total"]
    print(f"estimate {total / 1e6:.1f} MB, peak {took / 1e6:.1f} MB ({(total - took) / 1e6:+.1f}), dry run {dry / 1e6:.1f} MB: "
          + ", ".join(f"{name} {size / 1e6:.1f}" for name, size in told.items() if size))
    if sum(size for name, size in told.items() if name != "total") != total:
        sys.exit("the parts are not the total")
    if abs(total - took) > 0.05 * took + 8e6 or dry > told["program_and_rows"] + 12e6:
        sys.exit("too far off")


if __name__ == "__main__":
    main()
