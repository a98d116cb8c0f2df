#!/usr/bin/env python3
"""tensorboard_check.py LOG.jsonl DIRECTORY - what TensorBoard reads of to-tensorboard's file, against the log

    python3 -m venv ~/tensorboard && ~/tensorboard/bin/pip install tensorboard==2.21.0
    ../../pipelines/to-tensorboard -o $W/run log.jsonl && ~/tensorboard/bin/python tensorboard_check.py log.jsonl $W/run
"""
import json
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def main():
    accumulator = EventAccumulator(sys.argv[2], size_guidance={"scalars": 0, "tensors": 0})
    accumulator.Reload()
    wanted, warnings = {}, 0
    for row in map(json.loads, open(sys.argv[1], encoding="utf-8")):
        if "warning" in row:
            warnings += 1
            continue
        for key, value in row.items():
            if key != "step" and isinstance(value, (int, float)):
                tag = "eval/" + key.removeprefix("eval_") if key.startswith("eval_") else "train/" + key
                wanted.setdefault(tag, []).append((row["step"], struct.unpack("<f", struct.pack("<f", value))[0]))
    tags = accumulator.Tags()
    assert set(tags["scalars"]) == set(wanted), set(tags["scalars"]) ^ set(wanted)
    for tag, points in wanted.items():
        assert [(point.step, point.value) for point in accumulator.Scalars(tag)] == points, tag
    texts = accumulator.Tensors("train/warning") if warnings else []
    assert len(texts) == warnings and tags["tensors"] == (["train/warning"] if warnings else [])
    if warnings:
        assert accumulator.SummaryMetadata("train/warning").plugin_data.plugin_name == "text"
    print(f"{len(wanted)} scalars at {sum(map(len, wanted.values()))} points, {warnings} warnings: as in the log")
    for point in texts:
        print(point.step, point.tensor_proto.string_val[0].decode())


main()
