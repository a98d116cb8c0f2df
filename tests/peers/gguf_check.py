#!/usr/bin/env python3
"""Check a GGUF file as the gguf package reads it: every key and every tensor (the checks are those of ../gguf_check.py).

    gguf_check.py MODEL FILE.gguf f32|f16|bf16
"""
import pathlib
import sys

sys.path.insert(1, str(pathlib.Path(__file__).resolve().parent.parent))
sys.path.pop(0)
import gguf
import importlib.util

spec = importlib.util.spec_from_file_location("checks", pathlib.Path(__file__).resolve().parent.parent / "gguf_check.py")
checks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(checks)


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    reader = gguf.GGUFReader(sys.argv[2])
    keys = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    tensors = {tensor.name: ([int(size) for size in reversed(tensor.shape)], tensor.tensor_type.name.lower(), tensor.data.tobytes())
               for tensor in reader.tensors}
    checks.check(pathlib.Path(sys.argv[1]), keys, tensors, sys.argv[3])
    print(f"{len(tensors)} tensors and all keys agree")


if __name__ == "__main__":
    main()
