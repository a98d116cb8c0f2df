#!/usr/bin/env python3
"""tfevents.py FILE - a reader of TensorBoard's event files, of its own: each event as a line of JSON

Every length and every CRC is verified, the CRC bit by bit. A message is decoded by its wire types alone; the numbers of the
fields are those of tensorflow's event.proto, summary.proto and tensor.proto.
"""
import json
import struct
import sys


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        for bit in range(8):
            low = (crc ^ byte >> bit) & 1
            crc >>= 1
            if low:
                crc ^= 0x82F63B78
    return crc ^ 0xFFFFFFFF


def mask(crc):
    return (crc // 2**15 + crc % 2**15 * 2**17 + 0xA282EAD8) % 2**32


def records(data):
    while data:
        length, check = struct.unpack("<QI", data[:12])
        assert check == mask(crc32c(data[:8])), "CRC of a length"
        body, check = data[12:12 + length], data[12 + length:16 + length]
        assert len(body) == length and struct.unpack("<I", check)[0] == mask(crc32c(body)), "CRC of a record"
        yield body
        data = data[16 + length:]


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def fields(data):
    """{number: [values]} of a message: ints, bytes, or the packed bytes of 32 and 64 bits."""
    found, at = {}, 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        else:
            length, at = varint(data, at) if key & 7 == 2 else ({1: 8, 5: 4}[key & 7], at)
            value, at = data[at:at + length], at + length
            assert len(value) == length, "a field is cut"
        found.setdefault(key >> 3, []).append(value)
    return found


def value_of(summary):
    parts = fields(summary)
    if 2 in parts:
        return struct.unpack("<f", parts[2][0])[0]
    plugin = fields(fields(parts[9][0])[1][0])[1][0]
    tensor = fields(parts[8][0])
    shape = [fields(size)[1][0] for size in fields(tensor[2][0])[2]]
    assert plugin == b"text" and tensor[1] == [7] and shape == [1] and len(tensor[8]) == 1
    return tensor[8][0].decode()


def main():
    assert crc32c(b"123456789") == 0xE3069283    # RFC 3720's polynomial: the check value of the catalogues
    with open(sys.argv[1], "rb") as file:
        for body in records(file.read()):
            event = fields(body)
            shown = {"wall_time": struct.unpack("<d", event[1][0])[0], "step": event.get(2, [0])[0]}
            if 3 in event:
                shown["file_version"] = event[3][0].decode()
            for value in fields(event[5][0]).get(1, []) if 5 in event else []:
                shown[fields(value)[1][0].decode()] = value_of(value)
            print(json.dumps(shown))


main()
