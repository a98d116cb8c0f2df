#!/usr/bin/env python3
"""Streams in Python, written from dpo-stream(5) alone: a second opinion on the format, and a script stage.

stream.py cat FILE          JSON Lines on standard output
stream.py copy FILE         the same records as a stream of its own making, by way of nothing but this file
stream.py add FILE COLUMN   the same with one more column (i64, the record's number) and a stage "stream.py"
FILE may be -. Needs zstandard (python3-zstandard).
"""
import base64, hashlib, json, struct, sys
import zstandard

MAGIC = b"dpostrm\n"
SCALARS = {"f32": "<f", "i64": "<q"}
RUNS = {"str": 1, "bytes": 1, "i32[]": 4, "i64[]": 8, "f32[]": 4, "bf16[]": 2, "f16[]": 2}
ZERO = bytes(32)


def H(*parts):
    return hashlib.blake2b(b"".join(parts), digest_size=32).digest()


class Input:
    def __init__(self, file):
        self.file = zstandard.ZstdDecompressor(max_window_size=1 << 23).stream_reader(file, read_across_frames=True)

    def take(self, n, may_end=False):
        data = b""
        while len(data) < n:
            more = self.file.read(min(n - len(data), 1 << 18))
            if not more:
                break
            data += more
        if len(data) < n and not (may_end and not data):
            raise ValueError("ends without END")
        return data


def need(good, what):
    if not good:
        raise ValueError(what)


def read_record(columns, content, at):
    values = []
    for _, kind in columns:
        form = SCALARS.get(kind, "<I")
        need(at + struct.calcsize(form) <= len(content), "record runs out of its block")
        (value,) = struct.unpack_from(form, content, at)
        at += struct.calcsize(form)
        if kind in RUNS:
            end = at + value * RUNS[kind]
            need(end <= len(content), "record runs out of its block")
            value, at = content[at:end], end
            need(kind != "str" or (b"\0" not in value and value.decode("utf-8") is not None), "str")
        values.append(value)
    return values, at


def read(file):
    """Yields the header (a dict), then each record (a list; runs as their bytes), then the tip and the last parent."""
    source, first, tips, parent = Input(file), None, [], ZERO
    while True:
        magic = source.take(8, may_end=first is not None)
        if not magic:
            break
        need(magic == MAGIC, "not a stream, or bytes after END")
        length = source.take(4)
        need(struct.unpack("<I", length)[0] <= 1 << 20, "header too long")
        text = source.take(struct.unpack("<I", length)[0])
        h = H(magic, length, text)
        need(source.take(32) == h, "header: hash does not match")
        need(first in (None, text), "the header of a further stream differs")
        if first is None:
            header = json.loads(text)
            need(header["format"] == 1, "format %r; this reader knows 1" % header["format"])
            need(all(kind in RUNS or kind in SCALARS for _, kind in header["columns"]), "unknown column type")
            columns = [tuple(column) for column in header["columns"]]
            yield header
        first, count = text, 0
        while (tag := source.take(1)) == b"B":
            (size,) = struct.unpack("<I", source.take(4))
            need(4 <= size <= (64 << 20) + 4, "block size")
            content = source.take(size)
            h = H(h, H(content))
            need(source.take(32) == h, "block: hash does not match")
            (records,), at = struct.unpack_from("<I", content), 4
            need(records > 0, "block without a record")
            for _ in range(records):
                values, at = read_record(columns, content, at)
                yield values
            need(at == size, "bytes after the last record of a block")
            count += records
        need(tag == b"E", "neither a block nor END")
        end = source.take(104)
        parent = end[40:72]
        need(end[72:] == H(end[8:40], end[:8], parent), "END: hash does not match")
        need(end[8:40] == h and struct.unpack("<Q", end[:8])[0] == count, "END of other blocks")
        tips.append(h)
    tip = tips[0]
    for other in tips[1:]:
        tip = H(tip, other)
    yield tip, parent


class Writer:
    def __init__(self, file, header):
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        self.file, self.columns = file, header["columns"]
        self.pending, self.size, self.target, self.count = [], 0, 1, 0
        unit = MAGIC + struct.pack("<I", len(text)) + text
        self.h = H(unit)
        self.frame(unit + self.h)

    def frame(self, data):
        self.file.write(zstandard.ZstdCompressor(level=3, write_checksum=True).compress(data))
        self.file.flush()

    def flush(self):
        if self.pending:
            content = struct.pack("<I", len(self.pending)) + b"".join(self.pending)
            self.h = H(self.h, H(content))
            self.frame(b"B" + struct.pack("<I", len(content)) + content + self.h)
            self.target = min(self.target * 2, 1 << 19)
            self.pending, self.size = [], 0

    def put(self, values):
        data = b"".join(struct.pack(SCALARS[kind], v) if kind in SCALARS else
                        struct.pack("<I", len(v) // RUNS[kind]) + v for (_, kind), v in zip(self.columns, values))
        if self.size + len(data) > 1 << 18:
            self.flush()
        self.pending.append(data)
        self.size += len(data)
        self.count += 1
        if len(self.pending) == self.target or self.size > 1 << 18:
            self.flush()

    def end(self, parent=ZERO):
        self.flush()
        count = struct.pack("<Q", self.count)
        self.frame(b"E" + count + self.h + parent + H(self.h, count, parent))


def digits(x):
    return float("%.9g" % x)


def shown(kind, value):
    if kind in SCALARS:
        return digits(value) if kind == "f32" else value
    if kind == "str":
        return value.decode()
    code = {"i32[]": "i", "i64[]": "q", "f32[]": "f"}.get(kind)
    if code is None or len(value) // RUNS[kind] > 65536:
        return {"base64": base64.b64encode(value).decode(), "type": kind}
    numbers = struct.unpack("<%d%s" % (len(value) // RUNS[kind], code), value)
    return [digits(x) for x in numbers] if code == "f" else list(numbers)


def main(verb, path, column=None):
    records = read(sys.stdin.buffer if path == "-" else open(path, "rb"))
    header = next(records)
    names = [name for name, _ in header["columns"]]
    kinds = [kind for _, kind in header["columns"]]
    if verb == "add":
        header["columns"].append([column, "i64"])
        header.setdefault("stages", []).append({"stage": "stream.py", "version": 1, "settings": {"column": column}})
    writer = Writer(sys.stdout.buffer, header) if verb != "cat" else None
    if not writer:
        print(json.dumps({"header": header}, separators=(",", ":"), ensure_ascii=False))
    number = 0
    for record in records:
        if isinstance(record, tuple):
            tip, parent = record
            break
        number += 1
        if writer:
            writer.put(record + [number] if verb == "add" else record)
        else:
            print(json.dumps({n: shown(k, v) for n, k, v in zip(names, kinds, record)},
                             separators=(",", ":"), ensure_ascii=False))
    if writer:
        writer.end(tip if verb == "add" else parent)
    else:
        print('{"end":true}')


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in ("cat", "copy", "add"):
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except (ValueError, zstandard.ZstdError) as error:
        print("stream.py: %s: %s" % (sys.argv[2], error), file=sys.stderr)
        sys.exit(3)
