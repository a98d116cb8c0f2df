#!/usr/bin/env python3
"""Files by torch.save itself, in both forms, of a model in safetensors.

    torch_bin.py MODEL OUT        OUT/old, OUT/zip, OUT/parameters, OUT/bf16: copies of the directory MODEL with pytorch_model.bin

compare with:  dpo-export -f safetensors MODEL | cmp - <(dpo-export -f safetensors OUT/old)
"""
import collections
import pathlib
import shutil
import sys

import torch
from safetensors.torch import load_file, save_file

FORMS = {"old": {"_use_new_zipfile_serialization": False}, "zip": {}, "parameters": {}, "bf16": {}}


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, out = map(pathlib.Path, sys.argv[1:])
    tensors = collections.OrderedDict(load_file(source / "model.safetensors"))
    for form, settings in FORMS.items():
        (out / form).mkdir(parents=True)
        for path in source.glob("*.json"):
            shutil.copy(path, out / form)
        state = collections.OrderedDict(tensors)
        if form == "parameters":
            state = {name: torch.nn.Parameter(tensor) for name, tensor in state.items()}
        if form == "bf16":
            state = {name: tensor.bfloat16() for name, tensor in state.items()}
            (out / "bf16-safetensors").mkdir()
            save_file(state, out / "bf16-safetensors" / "model.safetensors", metadata={"format": "pt"})
            for path in source.glob("*.json"):
                shutil.copy(path, out / "bf16-safetensors")
        torch.save(state, out / form / "pytorch_model.bin", **settings)


if __name__ == "__main__":
    main()
