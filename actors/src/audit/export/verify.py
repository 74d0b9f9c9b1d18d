#!/usr/bin/env python3
"""Verifies an export of a Bursar audit log: python3 verify.py FOLDER [--key KEY] [--checkpoint FILE]

Exit code: 0 ok, 1 tampered, 2 usage, 3 incomplete, 4 signature or key, 5 older than the trusted checkpoint.
Hashing is RFC 9162's, signatures are Ed25519 (RFC 8032); nothing but Python's standard library is needed.
"""
import argparse
import base64
import hashlib
import json
import os
import re
import sys

OK, TAMPERED, USAGE, INCOMPLETE, SIGNATURE, OLDER = range(6)
ORIGIN = "bursar-audit/"
RECORD = re.compile(rb'\{"v":[0-9]+,"log":"([0-9a-f]{32})","index":(0|[1-9][0-9]{0,18})[,}]')
BODY = re.compile(rb'\{"index":(0|[1-9][0-9]{0,18}),"sealed":"([A-Za-z0-9+/=]*)"\}\n')


class Verdict(Exception):
    """What is wrong: an exit code, words for a person, and the first bad record where it can be told."""

    def __init__(self, code, message, index=None):
        super().__init__(message)
        self.code, self.message, self.index = code, message, index


# Ed25519, RFC 8032 section 5.1: points are (X, Y, Z, T) with x = X/Z, y = Y/Z, x*y = T/Z.
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def add(a, b):
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = f - e, h - g, h + g, f + e
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(scalar, point):
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


def decode_point(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if y >= P or (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE = decode_point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def signed_by(key, message, signature):
    a, r, s = decode_point(key), decode_point(signature[:32]), int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or a is None or r is None or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % L
    left, right = multiply(s, BASE), add(r, multiply(h, a))
    return not any((left[i] * right[2] - right[i] * left[2]) % P for i in (0, 1))


def from_base64(text):
    """Decodes text that has exactly one spelling, so that no bit of it can be changed unnoticed."""
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError("not the usual spelling")
    return data


def key_id(name, key):
    return hashlib.sha256(name.encode() + b"\n\x01" + key).digest()[:4]


def parse_key(text):
    """Reads <name>+<id>+<base64>, PEM, 64 hexadecimal digits, or base64."""
    text = text.strip()
    if re.fullmatch("[0-9a-fA-F]{64}", text):
        return bytes.fromhex(text)
    if text.startswith("-----BEGIN PUBLIC KEY-----"):
        key = base64.b64decode("".join(text.splitlines()[1:-1]))
        if key[:-32] == bytes.fromhex("302a300506032b6570032100"):
            return key[-32:]
    elif len(text) == 44:
        return from_base64(text)
    else:
        name, told, key = text.split("+", 2)
        key = from_base64(key)
        if key[:1] == b"\x01" and len(key) == 33 and key_id(name, key[1:]).hex() == told:
            return key[1:]
    raise ValueError("no Ed25519 public key")


def read_note(text, key, what):
    """Returns (log, size, root) of a checkpoint that the key signed."""
    try:
        body, signatures = text.split("\n\n", 1)
        lines = body.split("\n")
        log, size, root = lines[0][len(ORIGIN):], int(lines[1]), from_base64(lines[2])
        for line in signatures.splitlines():
            dash, name, signature = line.split(" ")
            signature = from_base64(signature) if name == lines[0] else b""
            if dash == "\u2014" and signature[:4] == key_id(name, key):
                if lines[0] == ORIGIN + log and signed_by(key, body.encode() + b"\n", signature[4:]):
                    return log, size, root
                break
    except (ValueError, IndexError):
        pass
    raise Verdict(SIGNATURE, f"{what} is not signed with the key, or was changed")


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """The right edge of a Merkle tree: the roots of its complete subtrees, one for each one-bit of its size."""

    def __init__(self, size, peaks):
        self.size, self.peaks = size, list(peaks)

    def append(self, root, level=0):
        bits = self.size >> level
        while bits & 1:
            root, bits = node(self.peaks.pop(), root), bits >> 1
        self.peaks.append(root)
        self.size += 1 << level

    def root(self):
        if not self.peaks:
            return hashlib.sha256(b"").digest()
        root = self.peaks[-1]
        for left in self.peaks[-2::-1]:
            root = node(left, root)
        return root


def is_continued(old, new, old_root, new_root, proof):
    """RFC 9162, 2.1.4.2: whether the log of `new` records continues the one of `old`."""
    if old >= new or old == 0:
        return not proof and (old_root == new_root if old == new else old == 0 and old_root == Tree(0, []).root())
    proof = ([old_root] if old & (old - 1) == 0 else []) + proof
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    if not proof:
        return False
    first = second = proof[0]
    for sibling in proof[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            first, second = node(sibling, first), node(sibling, second)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            second = node(second, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


def read_manifest(folder, key):
    """Returns the manifest and the key, once the signature is known to fit."""
    data = []
    for name in ("manifest.json", "manifest.sig"):
        try:
            data.append(open(os.path.join(folder, name), "rb").read())
        except OSError:
            raise Verdict(INCOMPLETE, f"`{name}` is missing") from None
    try:
        manifest = json.loads(data[0])
        key = key or parse_key(manifest["key"])
        signature = from_base64(data[1].decode()[:-1])
        if data[1][-1:] == b"\n" and signed_by(key, data[0], signature):
            return manifest, key
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise Verdict(SIGNATURE, "the manifest is not signed with the key, or it or its signature was changed")


def check_claims(folder, m, key, trusted):
    """Checks what the manifest says against itself and the trusted checkpoint; returns the roots to be found by size."""
    if m["format"] != "bursar-audit-export/1":
        raise Verdict(USAGE, f"the format {m['format']} is newer than this verifier")
    log, size, root = read_note(m["checkpoint"], key, "the checkpoint of the export")
    proof, counts, names = m["range_proof"], m["counts"], [listed["name"] for listed in m["files"]]
    claims = [log == m["log"], proof["size"] == size, proof["start"] == m["start"], proof["end"] == m["end"]]
    claims += [0 <= m["start"] <= m["end"] <= size, counts["in_range"] == m["end"] - m["start"]]
    claims += [m["filter"] is not None or counts["matched"] + counts["retired"] == counts["in_range"]]
    claims += [all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) for name in names), len(set(names)) == len(names)]
    claims += [name in names for name in ("records.jsonl", "leaves.bin", "checkpoint.txt")]
    claims += [("bodies.jsonl" in names) == (counts["bodies"] is not None), len(proof["left"]) == bin(m["start"]).count("1")]
    if not all(claims):
        raise Verdict(TAMPERED, "the manifest contradicts itself")
    roots, proven = {size: root}, {size}
    if m["previous"] is not None:
        log, size_before, root_before = read_note(m["previous"]["checkpoint"], key, "the checkpoint of the export before")
        hashes = [bytes.fromhex(text) for text in m["previous"]["proof"]]
        if log != m["log"] or not is_continued(size_before, size, root_before, root, hashes):
            raise Verdict(TAMPERED, "the log does not continue that of the export before: its history was replaced")
        roots[size_before] = root_before
        proven.add(size_before)
    if trusted is not None:
        log, trusted_size, trusted_root = read_note(trusted, key, "the trusted checkpoint")
        if log != m["log"]:
            raise Verdict(TAMPERED, "the trusted checkpoint is of another log")
        if trusted_size > size:
            raise Verdict(OLDER, f"the export ends at {size} records, the trusted checkpoint covers {trusted_size}")
        if roots.setdefault(trusted_size, trusted_root) != trusted_root:
            raise Verdict(TAMPERED, f"at {trusted_size} records another root was signed: the history was replaced")
    for name in names:
        if not os.path.isfile(os.path.join(folder, name)):
            raise Verdict(INCOMPLETE, f"`{name}` is missing")
    return roots, proven


class Bodies:
    """The lines of bodies.jsonl, each held against the record that it belongs to."""

    def __init__(self, path):
        self.lines, self.count = open(path, "rb"), 0
        self.advance()

    def advance(self):
        line = self.lines.readline()
        match = BODY.fullmatch(line)
        try:
            self.next = (int(match[1]), hashlib.sha256(from_base64(match[2].decode())).hexdigest()) if line else None
        except (TypeError, ValueError):
            raise Verdict(TAMPERED, f"line {self.count + 1} of `bodies.jsonl` is malformed") from None
        self.count += bool(line)

    def check(self, index, record):
        if self.next and self.next[0] <= index:
            if self.next != (index, json.loads(record).get("body_hash")):
                raise Verdict(TAMPERED, f"the body of record {self.next[0]} is not the one it was", self.next[0])
            self.advance()

    def finish(self, count):
        if self.next:
            raise Verdict(TAMPERED, f"`bodies.jsonl` has a body for {self.next[0]}, which is not exported", self.next[0])
        if self.count != count:
            raise Verdict(TAMPERED, f"`bodies.jsonl` has {self.count} bodies of {count}")


def check_records(folder, m, roots):
    """Walks over leaf hashes and records; returns the sizes at which a root was found to be the expected one."""
    start, end, proof, counts = m["start"], m["end"], m["range_proof"], m["counts"]
    leaves, records = (open(os.path.join(folder, name), "rb") for name in ("leaves.bin", "records.jsonl"))
    if os.path.getsize(leaves.name) != 32 * (end - start):
        raise Verdict(TAMPERED, "`leaves.bin` has not one hash for each record of the range")
    tree = Tree(start, [bytes.fromhex(text) for text in proof["left"]])
    bodies = Bodies(os.path.join(folder, "bodies.jsonl")) if counts["bodies"] is not None else None
    is_whole, lines, found = m["filter"] is None and counts["retired"] == 0, 0, set()

    def check_root():
        if tree.size in roots:
            if tree.root() != roots[tree.size]:
                raise Verdict(TAMPERED, f"a record below {tree.size} is not what it was when the checkpoint was signed")
            found.add(tree.size)

    def grow(until):
        while tree.size < until:
            tree.append(leaves.read(32))
            check_root()

    check_root()
    for line in records:
        match, expected = RECORD.match(line), tree.size
        index = int(match[2]) if match and match[1].decode() == m["log"] and line.endswith(b"\n") else -1
        if not expected <= index < end or (is_whole and index != expected):
            raise Verdict(TAMPERED, f"line {lines + 1} of `records.jsonl` is not a record that belongs there", expected)
        grow(index)
        leaf = leaves.read(32)
        if hashlib.sha256(b"\x00" + line[:-1]).digest() != leaf:
            raise Verdict(TAMPERED, f"record {index} is not what it was", index)
        tree.append(leaf)
        check_root()
        if bodies:
            bodies.check(index, line)
        lines += 1
    if lines != counts["matched"]:
        missing = tree.size if is_whole and tree.size < end else None
        raise Verdict(TAMPERED, f"`records.jsonl` has {lines} records of {counts['matched']}", missing)
    grow(end)
    if bodies:
        bodies.finish(counts["bodies"])
    right = [bytes.fromhex(text) for text in proof["right"]]
    while tree.size < proof["size"] and right:
        level = (proof["size"] - tree.size).bit_length() - 1
        if tree.size:
            level = min(level, (tree.size & -tree.size).bit_length() - 1)
        tree.append(right.pop(0), level)
    if right or tree.size != proof["size"] or tree.root() != roots[proof["size"]]:
        raise Verdict(TAMPERED, "the leaf hashes do not give the root of the checkpoint")
    return found


def check_files(folder, m):
    for listed in m["files"]:
        digest, path = hashlib.sha256(), os.path.join(folder, listed["name"])
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
        if digest.hexdigest() != listed["sha256"] or os.path.getsize(path) != listed["size"]:
            raise Verdict(TAMPERED, f"`{listed['name']}` is not what it was")
        if listed["name"] == "checkpoint.txt" and hashlib.sha256(m["checkpoint"].encode()).hexdigest() != listed["sha256"]:
            raise Verdict(TAMPERED, "`checkpoint.txt` is not the checkpoint of the manifest")


def verify(folder, key=None, checkpoint=None):
    """Returns (exit code, words, first bad record or None); key and checkpoint are the texts that you trust."""
    try:
        if not os.path.isdir(folder):
            raise Verdict(USAGE, f"`{folder}` is no folder")
        try:
            trusted_key = parse_key(key) if key is not None else None
        except ValueError as error:
            raise Verdict(USAGE, f"the trusted key cannot be read: {error}") from None
        m, key = read_manifest(folder, trusted_key)
        try:
            roots, proven = check_claims(folder, m, key, checkpoint)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Verdict(TAMPERED, f"the manifest is malformed: {error!r}") from None
        proven |= check_records(folder, m, roots)
        check_files(folder, m)
        if not set(roots) <= proven:
            raise Verdict(INCOMPLETE, f"nothing in the export leads from the trusted checkpoint to it: {set(roots) - proven}")
    except Verdict as verdict:
        return verdict.code, verdict.message, verdict.index
    except OSError as error:
        return INCOMPLETE, f"cannot read `{error.filename}`: {error.strerror}", None
    counts = m["counts"]
    words = f"{counts['matched']} records of {counts['in_range']} in [{m['start']}, {m['end']}) are in the log {m['log']}"
    words += f" of {m['range_proof']['size']} records, unchanged"
    return OK, words + ("" if trusted_key else "; the key comes from the export itself: compare it by another way"), None


def main():
    parser = argparse.ArgumentParser(description="Verifies an export of a Bursar audit log.")
    parser.add_argument("folder")
    parser.add_argument("--key", help="the public key you trust: text, or a file with it")
    parser.add_argument("--checkpoint", help="a file with a checkpoint you trust, such as one of an earlier export")
    arguments = parser.parse_args()
    key, checkpoint = arguments.key, None
    try:
        if key and os.path.isfile(key):
            key = open(key).read()
        if arguments.checkpoint:
            checkpoint = open(arguments.checkpoint, encoding="utf-8").read()
    except (OSError, ValueError) as error:
        parser.error(str(error))
    code, message, index = verify(arguments.folder, key, checkpoint)
    print(["ok", "tampered", "usage", "incomplete", "signature", "older"][code] + ": " + message)
    if index is not None:
        print(f"first bad record: {index}")
    return code


if __name__ == "__main__":
    sys.exit(main())
