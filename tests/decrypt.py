#!/usr/bin/env python3
"""Decrypts a CryptoServe ciphertext without CryptoServe.

    decrypt.py --keys SOURCE --master-key-file FILE --salt-file FILE [--associated-data TEXT] < ciphertext > plaintext
    decrypt.py --keys SOURCE --secrets-file DATA_DIR/secrets.env < ciphertext > plaintext

SOURCE holds the wrapped keys: the database file of an embedded store, or what psql prints of a PostgreSQL database:

    psql "$DATABASE_URL" -XAtc "$(decrypt.py --print-query)" > keys.json

The ciphertext comes as bytes or in base64. Nothing but an exit code of 0 says that the plaintext is whole.
Needs Python 3.9 and the package `cryptography` (50.0 was tried); imports nothing of CryptoServe.

What it follows, all numbers big endian, ‖ is concatenation; docs/keys.md says why:

  master key    the 32 bytes of the 64 hexadecimal characters of CRYPTOSERVE_MASTER_KEY
  kek           HKDF-SHA256(salt = the text of HKDF_SALT, master key, info `cryptoserve/v1/kek`, 32 bytes)
  kek id        the same with info `cryptoserve/v1/kek-id`, 8 bytes: names the kek that wraps a row
  K             a version of a context's key, 32 bytes: wrapped = nonce (24) ‖ XAES-256-GCM(kek, nonce, K, data) with
                data = `cryptoserve/wrap/v1` ‖ kek id (8) ‖ tenant id (16) ‖ context id (16) ‖ key id (16)
                       ‖ version (4) ‖ purpose (1) ‖ key type (1) ‖ origin (1) ‖ exportable (1)
  derived keys  HKDF-Expand-SHA256(K, `cryptoserve/v1/` ‖ purpose ‖ 0x00 ‖ algorithm (1), length)
                with purpose `aead` for messages, `stream` for streams, `kcv` (algorithm 0, 16 bytes) for the check value
  prefix        `CS` ‖ format (1) ‖ algorithm (1) ‖ key id (16) ‖ version (4)
  format 1      prefix ‖ nonce (24 or 12) ‖ ciphertext and tag; associated data = prefix ‖ the caller's
  format 2      prefix ‖ salt (24) ‖ commitment (32) ‖ chunks of 16 KiB + 16, the last one shorter
                (C2SP chunked-encryption, Cobblestone-256, context = prefix ‖ the caller's associated data)
  XAES-256-GCM  C2SP: AES-256-GCM under CMAC(key, 0x0001 `X` 0x00 ‖ N) ‖ CMAC(key, 0x0002 `X` 0x00 ‖ N), N the first
                12 bytes of the nonce, the other 12 being the nonce of AES-256-GCM
"""

import argparse
import base64
import binascii
import hmac
import io
import json
import os
import sqlite3
import sys
import urllib.request
import uuid

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESGCMSIV, ChaCha20Poly1305
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.cmac import CMAC
    from cryptography.hazmat.primitives.hashes import SHA256, SHA512
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
except ImportError as error:
    sys.exit(f"decrypt.py: {error}: install the package with `python3 -m pip install cryptography`")

PREFIX, TAG, CHUNK = 24, 16, 16 * 1024
CONTEXT_KEY, SYMMETRIC_256 = 1, 1

# Both databases know it. PostgreSQL wraps it in row_to_json, which prints bytes as \x and hexadecimal characters.
QUERY = """\
SELECT k.tenant_id, k.context_id, k.id AS key_id, v.version, k.purpose, k.key_type, v.origin, k.exportable,
       w.kek_id, w.bytes, w.check_value
FROM keys k
JOIN key_versions v ON v.tenant_id = k.tenant_id AND v.key_id = k.id
JOIN wrapped_keys w ON w.tenant_id = v.tenant_id AND w.key_id = v.key_id AND w.version = v.version"""


class Failure(Exception):
    """What a person has to know; never holds a key."""


class XAES:
    """XAES-256-GCM, https://c2sp.org/XAES-256-GCM."""

    def __init__(self, key):
        self.key = key

    def decrypt(self, nonce, sealed, associated_data):
        halves = []
        for counter in (1, 2):
            mac = CMAC(AES(self.key))
            mac.update(bytes([0, counter]) + b"X\x00" + nonce[:12])
            halves.append(mac.finalize())
        return AESGCM(b"".join(halves)).decrypt(nonce[12:], sealed, associated_data)


# Number: name, cipher, key length, nonce length.
ALGORITHMS = {
    1: ("XAES-256-GCM", XAES, 32, 24),
    2: ("AES-256-GCM", AESGCM, 32, 12),
    3: ("AES-128-GCM", AESGCM, 16, 12),
    4: ("ChaCha20-Poly1305", ChaCha20Poly1305, 32, 12),
    5: ("AES-256-GCM-SIV", AESGCMSIV, 32, 12),
}


def master_kdf(master_key, salt, info, length):
    return HKDF(SHA256(), length, salt, b"cryptoserve/v1/" + info).derive(master_key)


def derive(key, purpose, algorithm, length):
    return HKDFExpand(SHA256(), length, b"cryptoserve/v1/" + purpose + bytes([0, algorithm])).derive(key)


def unwrap(row, master_keys, salt):
    """The key K of a row."""
    keks = {master_kdf(key, salt, b"kek-id", 8): key for key in master_keys}
    kek_id = row["kek_id"]
    if kek_id not in keks:
        known = ", ".join(kek_id.hex() for kek_id in keks)
        raise Failure(f"the key is wrapped under the master key with the fingerprint {kek_id.hex()}, and the given"
                      f" master key and salt have {known}: give the one that was in use, or the right salt")
    if (row["purpose"], row["key_type"]) != (CONTEXT_KEY, SYMMETRIC_256):
        raise Failure("the ciphertext names a key that is not for encryption")
    kek = XAES(master_kdf(keks[kek_id], salt, b"kek", 32))
    try:
        bound = b"".join([b"cryptoserve/wrap/v1", kek_id, row["tenant_id"], row["context_id"], row["key_id"],
                          row["version"].to_bytes(4, "big"),
                          bytes([row["purpose"], row["key_type"], row["origin"], row["exportable"]])])
        key = kek.decrypt(row["bytes"][:24], row["bytes"][24:], bound)
    except (InvalidTag, ValueError, OverflowError):
        raise Failure("the key does not unwrap: its row was altered") from None
    if not hmac.compare_digest(derive(key, b"kcv", 0, 16), row["check_value"]):
        raise Failure("the key unwraps to another key than was stored: its row was altered")
    return key


def decrypt_message(key, algorithm, prefix, read, associated_data):
    name, cipher, key_length, nonce_length = ALGORITHMS[algorithm]
    nonce, sealed = read(nonce_length), read(-1)
    if len(nonce) < nonce_length or len(sealed) < TAG:
        raise Failure("the ciphertext is cut")
    try:
        yield cipher(derive(key, b"aead", algorithm, key_length)).decrypt(nonce, sealed, prefix + associated_data)
    except InvalidTag:
        raise Failure(f"not authentic ({name}): the ciphertext was altered or cut, or has other associated data") from None


def decrypt_stream(key, algorithm, prefix, read, associated_data):
    salt, commitment = read(24), read(32)
    if len(commitment) < 32:
        raise Failure("the ciphertext is cut")
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00" + salt + prefix + associated_data
    derived = HKDFExpand(SHA512(), 32 + 12 + 32, info).derive(derive(key, b"stream", algorithm, 32))
    if not hmac.compare_digest(derived[44:], commitment):
        raise Failure("not authentic: the beginning was altered, or it has other associated data")
    cipher, base, number = AESGCM(derived[:32]), int.from_bytes(derived[32:44], "big"), 0
    while True:
        chunk = read(CHUNK + TAG)
        try:
            if len(chunk) < TAG:
                raise InvalidTag
            yield cipher.decrypt((base ^ number).to_bytes(12, "big"), chunk, None)
        except InvalidTag:
            raise Failure(f"not authentic from byte {number * CHUNK} of the plaintext on: the ciphertext was altered"
                          " or cut; what was written before is only its beginning") from None
        # Only the last one is shorter, if only by being empty: so a cut between two chunks shows.
        if len(chunk) < CHUNK + TAG:
            return
        number += 1


def plaintext(source, master_keys, salt, read, associated_data):
    """Pieces of plaintext, each authentic; whole if it ends without Failure."""
    prefix = read(PREFIX)
    if len(prefix) < PREFIX or prefix[:2] != b"CS":
        raise Failure("this is no CryptoServe ciphertext: it does not begin with `CS` (`Q1M` in base64)")
    form, algorithm, key_id, version = prefix[2], prefix[3], prefix[4:20], int.from_bytes(prefix[20:], "big")
    decrypt = {1: decrypt_message, 2: decrypt_stream}.get(form)
    if decrypt is None or algorithm not in ALGORITHMS or (form == 2 and algorithm != 2):
        raise Failure(f"format {form} with algorithm {algorithm} is not known to this script")
    row = next((row for row in rows(source, key_id, version) if row["key_id"] == key_id and row["version"] == version), None)
    if row is None:
        raise Failure(f"there is no key {uuid.UUID(bytes=key_id)} in version {version} in {source}: it was destroyed, or is of"
                      " another deployment or newer than this copy")
    return decrypt(unwrap(row, master_keys, salt), algorithm, prefix, read, associated_data)


def rows(source, key_id, version):
    """Key rows of a SQLite file, or of lines of JSON."""
    with open(source, "rb") as file:
        if file.read(16) == b"SQLite format 3\x00":
            # Read only, and with the log beside it, which may hold the newest keys.
            url = urllib.request.pathname2url(os.path.abspath(source))
            database = sqlite3.connect(f"file:{url}?mode=ro", uri=True)
            database.row_factory = sqlite3.Row
            for row in database.execute(QUERY + " WHERE k.id = ? AND v.version = ?", (key_id, version)):
                yield dict(row)
            return
        file.seek(0)
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    row = json.loads(line)
                    yield {name: from_json(row[name], kind) for name, kind in COLUMNS.items()}
                except (ValueError, KeyError, TypeError):
                    raise Failure(f"{source}: line {number} is no key row; make the file with --print-query") from None


COLUMNS = dict.fromkeys(["tenant_id", "context_id", "key_id", "kek_id", "bytes", "check_value"], bytes)
COLUMNS.update(dict.fromkeys(["version", "purpose", "key_type", "origin", "exportable"], int))


def from_json(value, kind):
    """Bytes are written \\x00ff by PostgreSQL, and with hyphens where they are a UUID; false and true are numbers."""
    if kind is bytes and isinstance(value, str):
        value = bytes.fromhex(value[2:] if value.startswith("\\x") else value.replace("-", ""))
    if not isinstance(value, kind):
        raise TypeError
    return value


def reader(file):
    """Reads n bytes of a ciphertext, fewer only at its end, -1 is the rest; whether it is in base64 shows at its start."""
    start = file.read(3)
    if start != b"Q1M":
        def read(n):
            nonlocal start
            head, start = (start, b"") if n < 0 else (start[:n], start[n:])
            return head + file.read(n if n < 0 else n - len(head))
        return read
    try:
        whole = base64.b64decode(b"".join((start + file.read()).split()), validate=True)
    except binascii.Error:
        raise Failure("the ciphertext is not valid base64") from None
    return io.BytesIO(whole).read


def secrets(args):
    """The master keys and the salt."""
    texts, salt = [], None
    for path in args.master_key_file:
        texts.append((path, text(path)))
    if args.salt_file:
        salt = text(args.salt_file).encode()
    if args.secrets_file:
        lines = dict(line.split("=", 1) for line in text(args.secrets_file).splitlines() if "=" in line)
        if "CRYPTOSERVE_MASTER_KEY" in lines:
            texts.append((args.secrets_file, lines["CRYPTOSERVE_MASTER_KEY"]))
        for key in filter(None, lines.get("CRYPTOSERVE_MASTER_KEY_PREVIOUS", "").split(",")):
            texts.append((args.secrets_file, key.strip()))
        salt = salt or lines.get("HKDF_SALT", "").encode()
    keys = []
    for path, key in texts:
        try:
            keys.append(bytes.fromhex(key))
        except ValueError:
            keys.append(b"")
        if len(key) != 64 or len(keys[-1]) != 32:
            raise Failure(f"{path}: a master key is 64 hexadecimal characters")
    if not keys or not salt:
        raise Failure("the master key and the salt are needed: --master-key-file and --salt-file, or --secrets-file")
    return keys, salt


def text(path):
    with open(path, encoding="utf-8") as file:
        return file.read().rstrip("\r\n")


def main():
    parser = argparse.ArgumentParser(description="Decrypts a CryptoServe ciphertext without CryptoServe.",
                                     epilog="Its first lines say how the keys are exported, and what the layouts are.")
    parser.add_argument("--keys", metavar="SOURCE", help="the embedded store's file, or what --print-query gave in psql")
    parser.add_argument("--master-key-file", metavar="FILE", action="append", default=[],
                        help="file with CRYPTOSERVE_MASTER_KEY; may be given for several")
    parser.add_argument("--salt-file", metavar="FILE", help="file with HKDF_SALT")
    parser.add_argument("--secrets-file", metavar="FILE", help="file with lines NAME=value, as DATA_DIR/secrets.env")
    parser.add_argument("--associated-data", metavar="TEXT", default="", help="what the ciphertext is bound to; @file is a file's content")
    parser.add_argument("--print-query", action="store_true", help="print the query that exports the keys from PostgreSQL")
    args = parser.parse_args()
    if args.print_query:
        print(f"SELECT row_to_json(r) FROM ({QUERY}) r")
        return
    if not args.keys:
        parser.error("--keys is needed: the database file, or what psql printed")
    associated_data = args.associated_data.encode()
    if args.associated_data.startswith("@"):
        with open(args.associated_data[1:], "rb") as file:
            associated_data = file.read()
    keys, salt = secrets(args)
    for piece in plaintext(args.keys, keys, salt, reader(sys.stdin.buffer), associated_data):
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    try:
        main()
    except (Failure, OSError, UnicodeDecodeError, sqlite3.Error) as error:
        sys.exit(f"decrypt.py: {error}")
