"""Read and write safetensors files of floats with the standard library alone.

A safetensors file is a little-endian u64 with the length of a JSON header, the header
({name: {dtype, shape, data_offsets}}), and the data. The comparisons that need no other package
stand on this file.
"""
import array
import json
import math
import struct
import sys

WIDTH = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}


def directory(path):
    """The header of a file, without "__metadata__", and the position where the data begin."""
    with open(path, "rb") as file:
        length, = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return header, 8 + length


def decode(dtype, data):
    """The elements of one tensor as a sequence of Python floats."""
    if dtype == "BF16":
        halves = array.array("H", data)
        if sys.byteorder == "big":
            halves.byteswap()
        values = array.array("f", array.array("I", (h << 16 for h in halves)).tobytes())
        return values
    if dtype == "F16":
        return struct.unpack(f"<{len(data) // 2}e", data)
    values = array.array({"F32": "f", "F64": "d"}[dtype], data)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def read(path):
    """Yield (name, shape, elements) of every tensor of a file, in the order of the names."""
    header, start = directory(path)
    with open(path, "rb") as file:
        for name in sorted(header):
            entry = header[name]
            begin, end = entry["data_offsets"]
            file.seek(start + begin)
            data = file.read(end - begin)
            count = math.prod(entry["shape"])
            if entry["dtype"] not in WIDTH or len(data) != count * WIDTH[entry["dtype"]]:
                raise ValueError(f"{path}: {name}: dtype {entry['dtype']} or size not understood")
            yield name, entry["shape"], decode(entry["dtype"], data)


def encode(dtype, values):
    """The bytes of one tensor of F32, F16 or BF16: the inverse of decode, rounding to nearest even."""
    if dtype == "F16":
        return struct.pack(f"<{len(values)}e", *values)
    code, values = "I", array.array("I", array.array("f", values).tobytes())
    if dtype == "BF16":
        code, values = "H", ((v + 0x7FFF + (v >> 16 & 1)) >> 16 for v in values)
    data = array.array(code, values)
    if sys.byteorder == "big":
        data.byteswap()
    return data.tobytes()


def write(path, named, dtype="F32"):
    """Write (name, shape, array of floats) triples as one file of tensors of `dtype`."""
    header, offset = {}, 0
    for name, shape, values in named:
        end = offset + WIDTH[dtype] * len(values)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, values in named:
            file.write(encode(dtype, values))


def sample_places(count, skip=None, wanted=32):
    """The flat indices that stand for a tensor of `count` elements: 32, evenly spread, with both
    ends, less those in `skip` = [from, to); every element of a tensor no larger than that."""
    steps = min(count, wanted) - 1
    places = [i * (count - 1) // max(steps, 1) for i in range(steps + 1)]
    return [i for i in places if not (skip and skip[0] <= i < skip[1])]


def norm(values, skip=None):
    """The L2 norm, summed without rounding error, of the elements that are not in `skip`."""
    low, high = skip or (0, 0)
    return math.sqrt(math.fsum(v * v for i, v in enumerate(values) if not low <= i < high))
