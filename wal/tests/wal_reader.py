#!/usr/bin/env python3
"""Reads a log of format version 1 and prints its records, one JSON object a line.

Written from docs/wal-format.md alone, with nothing but the standard library, and its own CRC-32C.
With --replay the records of the youngest whole checkpoint come first, each with "base": true, then
the log's from the checkpoint's number on. The last line is an object with the state of the log: "sound", "torn" or "damaged".
Exit codes: 0 sound, 1 damaged or no log, 2 torn tail.
"""

import json
import os
import re
import struct
import sys

PAGE = 4096
SEGMENT = struct.Struct("<8sIIQQIIQQQIIIIQ")
BLOCK = struct.Struct("<4sIQQQQIIIIIIQ")
RUN = struct.Struct("<HHIII")
BLOCK_HEADER = 112
LARGEST_BLOCK = 16777216
END_OF_EPOCH, CLOSED = 1, 2


def make_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = (n >> 1) ^ 0x82F63B78 if n & 1 else n >> 1
        table.append(n)
    return table


TABLE = make_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


class Bad(Exception):
    """This is no log, or a damaged one."""


class Segment:
    """A segment file, or a checkpoint, with its header if it has one."""

    def __init__(self, path, number, magic_wanted=b"NGWALSEG"):
        self.path, self.number, self.header = path, number, False
        with open(path, "rb") as file:
            self.data = file.read()
        head = self.data[:PAGE]
        self.empty = len(head) < PAGE or not any(head)
        if self.empty:
            return
        (
            magic, version, crc, self.log_id, self.salt, own_number, self.block_bytes, self.first_lsn,
            self.first_epoch, self.durable_lsn, self.previous_number, self.previous_blocks,
            self.previous_crc, _reserved, self.created,
        ) = SEGMENT.unpack_from(head)
        if magic != magic_wanted:
            raise Bad(f"{path}: no segment")
        if version != 1:
            raise Bad(f"{path}: version {version}")
        if crc32c(head[:12] + bytes(4) + head[16:]) != crc:
            raise Bad(f"{path}: damaged header")
        if own_number != number:
            raise Bad(f"{path}: calls itself {own_number}")
        if self.block_bytes % PAGE or not 8192 <= self.block_bytes <= LARGEST_BLOCK:
            raise Bad(f"{path}: damaged header")
        if self.previous_number >= number or max(self.first_lsn, self.first_epoch, self.durable_lsn) >> 63:
            raise Bad(f"{path}: damaged header")
        self.crc, self.header = crc, True


class Block:
    """A block that is whole, wherever it belongs; None at a place that has none."""

    @staticmethod
    def at(segment, offset):
        data = segment.data
        if offset + BLOCK_HEADER > len(data) or data[offset:offset + 4] != b"NGWB":
            return None
        block = Block()
        (
            _magic, block.crc, block.salt, block.first_lsn, block.epoch, block.durable_lsn, payload_len,
            block.records, block.index, block.previous_crc, block.flags, block.segment, block.sealed,
        ) = BLOCK.unpack_from(data, offset)
        limit = segment.block_bytes if segment.header else LARGEST_BLOCK
        if payload_len > limit - BLOCK_HEADER or max(block.first_lsn, block.epoch, block.durable_lsn) >> 63:
            return None
        block.length = -(-(BLOCK_HEADER + payload_len) // PAGE) * PAGE
        whole = data[offset:offset + block.length]
        if len(whole) < block.length or crc32c(whole[8:]) != block.crc:
            return None
        block.payload = whole[BLOCK_HEADER:BLOCK_HEADER + payload_len]
        return block

    def runs(self):
        """(kind, record_len, count, bytes) of each run; None if they don't fill the payload."""
        found, at = [], 0
        while at < len(self.payload):
            if at + RUN.size > len(self.payload):
                return None
            kind, _flags, record_len, count, _reserved = RUN.unpack_from(self.payload, at)
            at += RUN.size
            end = at + record_len * count
            if end > len(self.payload):
                return None
            found.append((kind, record_len, count, self.payload[at:end]))
            at = end
        return found if sum(run[2] for run in found) == self.records else None


def history_of(segments, numbers):
    """The history, oldest first, and the segments with a header that are not in it."""
    sound = {n: s for n, s in segments.items() if s.header}
    outside, chain = [], []
    left = dict(sound)
    following = left.pop(max(left)) if left else None
    while following:
        chain.append(following)
        previous = following.previous_number
        if previous == 0:
            break
        if previous in left:
            following = left.pop(previous)
        elif previous in segments:
            # There, but without a header: what was followed so far is no history.
            outside += chain
            chain = []
            following = left.pop(max(left)) if left else None
        elif any(n < following.number for n in left):
            raise Bad(f"segment {previous} is missing")
        else:
            break
    return chain[::-1], outside + list(left.values())


def checkpoint(path, lsn, log_id):
    """The records of a checkpoint and its durable mark; None if it is not whole."""
    try:
        file = Segment(path, 1, b"NGWALCKP")
    except Bad:
        return None
    if not file.header or file.durable_lsn != lsn or file.first_lsn != 0:
        return None
    if log_id is not None and file.log_id != log_id:
        raise Bad(f"{path}: of another log")
    records, offset, index, crc, closed = [], PAGE, 0, file.crc, False
    while offset < len(file.data):
        block = None if closed else Block.at(file, offset)
        runs = block.runs() if block else None
        if runs is None or (block.salt, block.segment, block.index, block.first_lsn, block.previous_crc) != (
                file.salt, 1, index, len(records), crc):
            return None
        for kind, record_len, count, data in runs:
            for i in range(count):
                payload = data[i * record_len:(i + 1) * record_len]
                records.append({"base": True, "kind": kind, "payload": payload.hex()})
        offset, index, crc = offset + block.length, index + 1, block.crc
        closed = block.flags == END_OF_EPOCH | CLOSED and block.length == PAGE
        durable = block.durable_lsn
    return (records, durable) if closed else None


def base_of(directory):
    """Number, records and durable mark of the youngest whole checkpoint; number 0 without one."""
    names = os.listdir(directory)
    numbers = sorted(int(n[:10]) for n in names if re.fullmatch(r"[0-9]{10}\.wal", n) and int(n[:10]) > 0)
    segments = {n: Segment(os.path.join(directory, f"{n:010}.wal"), n) for n in numbers}
    chain, _outside = history_of(segments, numbers)
    log_id = chain[0].log_id if chain else None
    first_lsn = chain[0].first_lsn if chain else 0
    lsns = sorted((int(n[:20]) for n in names if re.fullmatch(r"[0-9]{20}\.ckpt", n)), reverse=True)
    for lsn in lsns:
        found = checkpoint(os.path.join(directory, f"{lsn:020}.ckpt"), lsn, log_id)
        if found and first_lsn <= lsn:
            return lsn, found[0], found[1]
    if lsns and first_lsn > 0:
        raise Bad("no checkpoint is whole, and the log begins behind them")
    return 0, [], 0


def read(directory, start=0):
    names = os.listdir(directory)
    if "SALVAGE" in names:
        raise Bad("a salvage was interrupted")
    numbers = sorted(int(n[:10]) for n in names if re.fullmatch(r"[0-9]{10}\.wal", n) and int(n[:10]) > 0)
    segments = {n: Segment(os.path.join(directory, f"{n:010}.wal"), n) for n in numbers}
    if len({s.log_id for s in segments.values() if s.header}) > 1:
        raise Bad("segments of two logs")
    chain, outside = history_of(segments, numbers)
    held, clean, next_lsn, at = [], True, chain[0].first_lsn if chain else 0, 0
    offset, closed, whole_to = PAGE, False, next_lsn
    if chain:
        place = (chain[0].crc, 0, chain[0].first_lsn)
    while at < len(chain):
        segment = chain[at]
        crc, index, lsn = place
        if at + 1 < len(chain) and chain[at + 1].previous_blocks == index:
            successor = chain[at + 1]
            if successor.previous_crc != crc or successor.first_lsn != lsn:
                clean = False
                break
            at, offset, closed = at + 1, PAGE, False
            place = (successor.crc, 0, lsn)
            continue
        block = Block.at(segment, offset)
        runs = block.runs() if block else None
        fits = block and (block.salt, block.segment, block.index, block.first_lsn, block.previous_crc) == (
            segment.salt, segment.number, index, lsn, crc)
        if not fits or runs is None:
            clean = closed or not any(segment.data[offset:offset + PAGE])
            break
        for kind, record_len, count, data in runs:
            for i in range(count):
                payload = data[i * record_len:(i + 1) * record_len]
                held.append({"lsn": lsn, "kind": kind, "epoch": block.epoch, "payload": payload.hex()})
                lsn += 1
        closed = bool(block.flags & CLOSED)
        offset += block.length
        place = (block.crc, index + 1, lsn)
        clean = bool(block.flags & END_OF_EPOCH)
        if clean:
            for record in held:
                if record["lsn"] >= start:
                    print(json.dumps(record))
            held, whole_to = [], lsn
    durable, blocks = evidence(segments, chain, outside, at, offset, closed)
    if durable > whole_to:
        return "damaged", whole_to
    if not chain and any(0 < len(s.data) < PAGE for s in segments.values()):
        clean = False
    return ("sound" if clean and not blocks and not held else "torn"), whole_to


def evidence(segments, chain, outside, at, offset, closed):
    """The highest durable mark behind the break, and how many sound blocks are there."""
    durable, blocks = 0, 0
    broken = chain[at] if chain else None
    number = broken.number if broken else 0
    places = [] if closed or not broken else [(broken, offset)]
    for segment in chain[at + 1:] + [s for s in outside if s.number > number]:
        durable = max(durable, segment.durable_lsn)
        places.append((segment, PAGE))
    for segment in segments.values():
        if not segment.header and segment.number > number and any(segment.data[PAGE:2 * PAGE]):
            places.append((segment, PAGE))
    for segment, offset in places:
        while offset < len(segment.data):
            block = Block.at(segment, offset)
            ours = block and block.segment == segment.number and (
                not segment.header or block.salt == segment.salt)
            if ours:
                durable, blocks = max(durable, block.durable_lsn), blocks + 1
            offset += block.length if ours else PAGE
    return durable, blocks


def main():
    assert crc32c(b"123456789") == 0xE3069283
    try:
        start, durable = 0, 0
        if "--replay" in sys.argv:
            start, records, durable = base_of(sys.argv[1])
            for record in records:
                print(json.dumps(record))
        state, next_lsn = read(sys.argv[1], start)
        if next_lsn < durable:
            state = "damaged"
    except Bad as error:
        print(json.dumps({"state": "damaged", "why": str(error)}))
        return 1
    print(json.dumps({"state": state, "next_lsn": next_lsn}))
    return {"sound": 0, "damaged": 1, "torn": 2}[state]


if __name__ == "__main__":
    sys.exit(main())
