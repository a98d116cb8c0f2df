#!/usr/bin/env python3
"""Write a state dict as torch.save does, without PyTorch: for the tests of reading such files.

    torch_bin.py FORM IN.safetensors OUT.bin [CHANGE...]

FORM is zip (PyTorch 1.6 and later) or old (before). Tensors are those of IN, in its order. A CHANGE:

    dialogpt        as microsoft/DialoGPT-* are: masks and -1e4 beside each attention, and lm_head.weight again
    shared          lm_head.weight is a view of the embedding's storage
    one-storage     all tensors are views of one storage
    parameters      each tensor is an nn.Parameter
    only=A,B        only the tensors whose names begin with A or B
    transposed, inside-out, twice, os.system, list, checkpoint, compressed, overlap, big-endian: what must be refused
"""
import collections
import io
import json
import pickle
import struct
import sys
import types
import zipfile

CLASSES = {"F32": "FloatStorage", "F16": "HalfStorage", "BF16": "BFloat16Storage", "U8": "ByteStorage", "F64": "DoubleStorage"}
WIDTH = {"F32": 4, "F16": 2, "BF16": 2, "U8": 1, "F64": 8}


def fake_torch():
    """Modules with the names that the pickles mention, so that Python's own pickler writes them."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in CLASSES.values():
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    for name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
        function = types.FunctionType((lambda *args: None).__code__, {}, name)
        function.__module__, function.__qualname__ = "torch._utils", name
        setattr(utils, name, function)
    sys.modules.update({"torch": torch, "torch._utils": utils})
    return torch, utils


torch, utils = fake_torch()


class Storage:
    def __init__(self, key, dtype, data):
        self.key, self.dtype, self.data = str(key), dtype, data
        self.count = len(data) // WIDTH[dtype]


class Tensor:
    def __init__(self, storage, offset, shape, stride=None):
        self.storage, self.offset, self.shape = storage, offset, tuple(shape)
        self.stride = stride or tuple(contiguous(shape))
        self.parameter = False

    def __reduce_ex__(self, protocol):
        made = (utils._rebuild_tensor_v2, (self.storage, self.offset, self.shape, self.stride, False, collections.OrderedDict()))
        if not self.parameter:
            return made
        bare = Tensor(self.storage, self.offset, self.shape, self.stride)
        return (utils._rebuild_parameter, (bare, True, collections.OrderedDict()))


def contiguous(shape):
    return [product(shape[d + 1:]) for d in range(len(shape))]


def product(numbers):
    result = 1
    for number in numbers:
        result *= number
    return result


class Pickler(pickle.Pickler):
    def __init__(self, file, old):
        super().__init__(file, protocol=2)
        self.old = old

    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        found = ("storage", getattr(torch, CLASSES[value.dtype]), value.key, "cpu", value.count)
        return found + (None,) if self.old else found


def pickled(value, old):
    out = io.BytesIO()
    Pickler(out, old).dump(value)
    return out.getvalue()


# ---------------------------------------------------------------- the state dict

def read_safetensors(path):
    with open(path, "rb") as file:
        length, = struct.unpack("<Q", file.read(8))
        header, data = json.loads(file.read(length)), file.read()
    header.pop("__metadata__", None)
    return {name: (entry["dtype"], entry["shape"], data[slice(*entry["data_offsets"])]) for name, entry in header.items()}


def add_dialogpt(tensors):
    """The buffers and the second head of the published files."""
    positions = tensors["transformer.wpe.weight"][1][0]
    mask = bytes(column <= row for row in range(positions) for column in range(positions))
    layers = [name[:-len("c_attn.weight")] for name in tensors if name.endswith("attn.c_attn.weight")]
    for prefix in layers:
        tensors[prefix + "bias"] = ("U8", [1, 1, positions, positions], mask)
        tensors[prefix + "masked_bias"] = ("F16", [], struct.pack("<e", -1e4))
    tensors["lm_head.weight"] = tensors["transformer.wte.weight"]


def make_state(tensors, changes):
    state = collections.OrderedDict()
    whole = Storage(0, "F16", b"".join(data for _, _, data in tensors.values())) if "one-storage" in changes else None
    at = 0
    for key, (name, (dtype, shape, data)) in enumerate(tensors.items()):
        state[name] = Tensor(whole, at, shape) if whole else Tensor(Storage(key, dtype, data), 0, shape)
        state[name].parameter = "parameters" in changes
        at += len(data) // WIDTH[dtype]
    if "shared" in changes:
        embedding = state["transformer.wte.weight"]
        state["lm_head.weight"] = Tensor(embedding.storage, embedding.offset, embedding.shape)
    return spoil(state, changes)


def spoil(state, changes):
    first = next(iter(state.values()))
    if "transposed" in changes:
        first.stride = first.stride[::-1]
    if "inside-out" in changes:
        first.offset = first.storage.count
    if "twice" in changes:
        state["again"] = Tensor(Storage(first.storage.key, "F32", b"\0" * 64), 0, [16])
    if "os.system" in changes:
        import os
        state["hook"] = type("Hook", (), {"__reduce_ex__": lambda self, protocol: (os.system, ("echo pwned > pwned",))})()
    if "list" in changes:
        state["epoch"] = [1, 2]
    return {"state_dict": state} if "checkpoint" in changes else state


def storages_of(state):
    found = {}
    for value in state.values():
        for tensor in (value.values() if isinstance(value, dict) else [value]):
            if isinstance(tensor, Tensor):
                found.setdefault(tensor.storage.key, tensor.storage)
    return found


# ---------------------------------------------------------------- the two forms

def write_old(path, state, changes):
    system = {"protocol_version": 1001, "little_endian": "big-endian" not in changes,
              "type_sizes": {"short": 2, "int": 4, "long": 4}}
    storages = storages_of(state)
    with open(path, "wb") as file:
        for value in (0x1950a86a20f9469cfc6c, 1001, system):
            file.write(pickle.dumps(value, protocol=2))
        file.write(pickled(state, True))
        file.write(pickle.dumps(sorted(storages), protocol=2))
        for key in sorted(storages):
            file.write(struct.pack("<q", storages[key].count) + storages[key].data)


def write_zip(path, state, changes):
    kind = zipfile.ZIP_DEFLATED if "compressed" in changes else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr("pytorch_model/data.pkl", pickled(state, False))
        archive.writestr("pytorch_model/byteorder", "big" if "big-endian" in changes else "little")
        for key, storage in storages_of(state).items():
            archive.writestr(f"pytorch_model/data/{key}", storage.data)
        archive.writestr("pytorch_model/version", "3\n")
        if "overlap" in changes:
            # Two members with one place for their data.
            members = archive.filelist
            members[3].header_offset = members[2].header_offset


def main():
    form, source, target, *changes = sys.argv[1:]
    tensors = read_safetensors(source)
    only = [change[5:].split(",") for change in changes if change.startswith("only=")]
    if only:
        tensors = {name: tensor for name, tensor in tensors.items() if name.startswith(tuple(only[0]))}
    if "dialogpt" in changes:
        add_dialogpt(tensors)
    (write_zip if form == "zip" else write_old)(target, make_state(tensors, changes), changes)


if __name__ == "__main__":
    main()
