#!/usr/bin/env python3
"""The other side of signatures and of keys on their way, on a third-party library: the package `cryptography`.

    other_side.py QUESTIONS

QUESTIONS is a file with a JSON list of objects, each with `do` and what that takes; the answers are a JSON list on
standard output, in the same order. Bytes are base64. Imports nothing of CryptoServe.
"""

import base64
import json
import os
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa, utils

PUBLIC_DER = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
PUBLIC_PEM = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
PRIVATE_PEM = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)

# Name: algorithm of JOSE, class of the public key, maker of a private key, bytes of a coordinate, hash.
ALGORITHMS = {
    "Ed25519": ("EdDSA", ed25519.Ed25519PublicKey, ed25519.Ed25519PrivateKey.generate, None, None),
    "ECDSA-P256": (
        "ES256", ec.EllipticCurvePublicKey, lambda: ec.generate_private_key(ec.SECP256R1()), 32, hashes.SHA256()
    ),
    "ECDSA-P384": (
        "ES384", ec.EllipticCurvePublicKey, lambda: ec.generate_private_key(ec.SECP384R1()), 48, hashes.SHA384()
    ),
    "RSA-PSS-3072": ("PS256", rsa.RSAPublicKey, lambda: rsa.generate_private_key(65537, 3072), None, hashes.SHA256()),
    "ML-DSA-65": ("ML-DSA-65", mldsa.MLDSA65PublicKey, mldsa.MLDSA65PrivateKey.generate, None, None),
    "ML-DSA-87": ("ML-DSA-87", mldsa.MLDSA87PublicKey, mldsa.MLDSA87PrivateKey.generate, None, None),
}


def unbase64(text):
    return base64.b64decode(text, validate=True)


def text64(data):
    return base64.b64encode(data).decode()


def unbase64url(text):
    assert "=" not in text and "+" not in text and "/" not in text
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def number(text):
    return int.from_bytes(unbase64url(text), "big")


def from_raw(algorithm, raw):
    """The public key of the bytes that are given as `public_key_raw`."""
    _, kind, _, _, _ = ALGORITHMS[algorithm]
    if kind is rsa.RSAPublicKey:
        # An RSAPublicKey of PKCS #1 in PEM, which the library tells from its label.
        pem = b"-----BEGIN RSA PUBLIC KEY-----\n" + base64.encodebytes(raw) + b"-----END RSA PUBLIC KEY-----\n"
        return serialization.load_pem_public_key(pem)
    if kind is ec.EllipticCurvePublicKey:
        curve = ec.SECP256R1() if algorithm == "ECDSA-P256" else ec.SECP384R1()
        return ec.EllipticCurvePublicKey.from_encoded_point(curve, raw)
    return kind.from_public_bytes(raw)


def from_jwk(algorithm, jwk):
    jose, kind, _, _, _ = ALGORITHMS[algorithm]
    assert jwk["alg"] == jose and jwk["use"] == "sig", jwk
    if kind is rsa.RSAPublicKey:
        assert jwk["kty"] == "RSA"
        return rsa.RSAPublicNumbers(number(jwk["e"]), number(jwk["n"])).public_key()
    if kind is ec.EllipticCurvePublicKey:
        curve = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}[jwk["crv"]]
        assert jwk["kty"] == "EC" and curve.name == {"ECDSA-P256": "secp256r1", "ECDSA-P384": "secp384r1"}[algorithm]
        return ec.EllipticCurvePublicNumbers(number(jwk["x"]), number(jwk["y"]), curve).public_key()
    if kind is ed25519.Ed25519PublicKey:
        assert jwk["kty"] == "OKP" and jwk["crv"] == "Ed25519"
        return kind.from_public_bytes(unbase64url(jwk["x"]))
    assert jwk["kty"] == "AKP"
    return kind.from_public_bytes(unbase64url(jwk["pub"]))


def to_der(coordinate, signature):
    """ECDSA: r ‖ s to DER."""
    assert len(signature) == 2 * coordinate
    halves = (signature[:coordinate], signature[coordinate:])
    return utils.encode_dss_signature(*(int.from_bytes(half, "big") for half in halves))


def verify(question):
    """Whether a signature verifies with the key, which must be the same in each of its forms."""
    algorithm, message, signature = question["algorithm"], unbase64(question["message"]), question["signature"]
    jose, kind, _, coordinate, digest = ALGORITHMS[algorithm]
    key = serialization.load_pem_public_key(question["public_key_pem"].encode())
    assert isinstance(key, kind), key
    for other in (
        from_raw(algorithm, unbase64(question["public_key_raw"])),
        from_jwk(algorithm, question["public_key_jwk"]),
    ):
        assert other.public_bytes(*PUBLIC_DER) == key.public_bytes(*PUBLIC_DER)
    if question["format"] == "jws":
        header, payload, last = signature.split(".")
        assert unbase64url(payload) == message
        header_json = json.loads(unbase64url(header))
        assert header_json == {"alg": jose, "kid": question["key_id"]}, header_json
        assert question["public_key_jwk"]["kid"] == question["key_id"]
        message, signature = f"{header}.{payload}".encode(), unbase64url(last)
    else:
        signature = unbase64(signature)
    try:
        if kind is ec.EllipticCurvePublicKey:
            der = signature if question["format"] == "der" else to_der(coordinate, signature)
            key.verify(der, message, ec.ECDSA(digest))
        elif kind is rsa.RSAPublicKey:
            assert key.key_size == 3072
            key.verify(signature, message, PSS, digest)
        else:
            key.verify(signature, message)
        return True
    except InvalidSignature:
        return False


def sign(question):
    """A fresh key's signature of a message."""
    message = unbase64(question["message"])
    _, _, generate, coordinate, digest = ALGORITHMS[question["algorithm"]]
    key = generate()
    if isinstance(key, ec.EllipticCurvePrivateKey):
        der = key.sign(message, ec.ECDSA(digest))
        signature = b"".join(half.to_bytes(coordinate, "big") for half in utils.decode_dss_signature(der))
    elif isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(message, PSS, digest)
    else:
        signature = key.sign(message)
    public = key.public_key()
    return {
        "signature": text64(signature),
        "pem": public.public_bytes(*PUBLIC_PEM).decode(),
        "der": text64(public.public_bytes(*PUBLIC_DER)),
    }


def make_rsa(question):
    key = rsa.generate_private_key(65537, question["bits"])
    return {
        "private": key.private_bytes(*PRIVATE_PEM).decode(),
        "public": key.public_key().public_bytes(*PUBLIC_PEM).decode(),
    }


def wrap(question):
    """CKM_RSA_AES_KEY_WRAP with AES-256, SHA-256 and MGF1 with SHA-256."""
    ephemeral = os.urandom(32)
    recipient = serialization.load_pem_public_key(question["public"].encode())
    wrapped = keywrap.aes_key_wrap_with_padding(ephemeral, unbase64(question["key"]))
    return text64(recipient.encrypt(ephemeral, OAEP) + wrapped)


def unwrap(question):
    key = serialization.load_pem_private_key(question["private"].encode(), None)
    blob = unbase64(question["wrapped"])
    ephemeral = key.decrypt(blob[: key.key_size // 8], OAEP)
    return text64(keywrap.aes_key_unwrap_with_padding(ephemeral, blob[key.key_size // 8 :]))


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        questions = json.load(file)
    known = {"verify": verify, "sign": sign, "make_rsa": make_rsa, "wrap": wrap, "unwrap": unwrap}
    print(json.dumps([known[question["do"]](question) for question in questions]))


main()
