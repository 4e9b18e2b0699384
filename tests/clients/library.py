"""Every method of cryptoserve-client 0.3.0, with both forms of its base URL.

SERVERS    the addresses of servers on one store
TOKEN      of a service for every context
NARROW     of a service for the context `general`
LIMITED    of a service that does nothing else
BURST      how many requests an identity may make at once
"""

import asyncio
import hashlib
import hmac
import os
import socket

from expect import example, loopback_only, public, refused

loopback_only()

import requests
from cryptoserve_client import (
    AsyncCryptoClient,
    AuthenticationError,
    AuthorizationError,
    ContextNotFoundError,
    CryptoClient,
    CryptoServeError,
    RateLimitError,
)

SERVERS = [f"http://{address}" for address in os.environ["SERVERS"].split()]
BASES = [server + path for server in SERVERS for path in ("", "/api")]
TOKEN, NARROW, LIMITED = (os.environ[name] for name in ("TOKEN", "NARROW", "LIMITED"))
MESSAGE = bytes(range(256))


def encryption(here, there):
    for aad in (None, b"row 7"):
        ciphertext = here.encrypt(MESSAGE, "user-pii", aad)
        assert there.decrypt(ciphertext, "user-pii", aad) == MESSAGE
        refused(CryptoServeError, lambda: there.decrypt(ciphertext, "user-pii", b"row 8"), 400)
        refused(CryptoServeError, lambda: there.decrypt(ciphertext, "general", aad), 400, "another context")
    altered = ciphertext[:-1] + bytes([ciphertext[-1] ^ 1])
    refused(CryptoServeError, lambda: there.decrypt(altered, "user-pii", b"row 7"), 400, "altered")
    assert there.decrypt(here.encrypt(b"", "general"), "general") == b""


def batches(here, there):
    sealed = here.encrypt_batch([(b"1", "user-pii"), (b"2", "nothing"), (b"3", "general")])
    assert (sealed.total, sealed.succeeded, sealed.failed) == (3, 2, 1)
    [(index, error)] = sealed.errors()
    assert index == 1 and type(error) is ContextNotFoundError
    opened = there.decrypt_batch(list(zip(sealed.results(), ("user-pii", "general"))))
    assert opened.all_succeeded and opened.results() == [b"1", b"3"]
    assert here.hash_batch([b"1"]).results() == [hashlib.sha256(b"1").hexdigest()]


def signatures(here, there):
    for algorithm, context in (("ed25519", None), ("ecdsa-p256", "user-pii"), ("rsa", None)):
        # RSA takes its time; once is enough.
        if algorithm == "rsa" and here is not CLIENTS[0]:
            continue
        key = here.generate_signing_key(algorithm, context)
        assert key["context"] == (context or "general")
        signature = there.sign(MESSAGE, key["key_id"])
        assert here.verify(MESSAGE, signature, key["key_id"]) is True
        assert here.verify(b"other", signature, key["key_id"]) is False
        assert here.verify(MESSAGE, signature, public_key=key["public_key_pem"]) is True
    refused(CryptoServeError, lambda: here.sign(MESSAGE, "nothing"), 404, "no such signing key")


def hashes(here, there):
    for algorithm in ("sha256", "SHA384", "sha512", "sha3-256", "blake2b"):
        digest = here.hash(MESSAGE, algorithm)
        assert digest == hashlib.new(algorithm.lower().replace("-", "_"), MESSAGE).hexdigest()
        assert there.hash_verify(MESSAGE, digest, algorithm) is True
        assert there.hash_verify(b"other", digest, algorithm) is False
    refused(CryptoServeError, lambda: here.hash(MESSAGE, "blake3"), 422, "sha3-512")


def codes(here, there):
    for algorithm, digest in (("hmac-sha256", "sha256"), ("hmac-sha512", "sha512")):
        key = here.generate_mac_key(algorithm)
        tag = here.mac(MESSAGE, key, algorithm)
        assert tag == hmac.new(key, MESSAGE, digest).hexdigest()
        assert there.mac_verify(MESSAGE, key, tag, algorithm) is True
        assert there.mac_verify(b"other", key, tag, algorithm) is False
    refused(CryptoServeError, lambda: here.mac(MESSAGE, key, "kmac256"), 422, "hmac-sha384")
    refused(CryptoServeError, lambda: here.mac(MESSAGE, b"short"), 400, "key")


def utilities(here, there):
    assert here.health_check() == {"status": "healthy"}
    assert here.token == TOKEN
    with CryptoClient(here.server_url, TOKEN, timeout=5, user_agent="shop/1") as client:
        assert client.hash(b"") == hashlib.sha256(b"").hexdigest()
    client.close()


WORKS = {
    encryption: {"encrypt", "decrypt"},
    batches: {"encrypt_batch", "decrypt_batch", "hash_batch"},
    signatures: {"generate_signing_key", "sign", "verify"},
    hashes: {"hash", "hash_verify"},
    codes: {"mac", "mac_verify", "generate_mac_key"},
    utilities: {"health_check", "token", "close", "REFRESH_THRESHOLD_SECONDS"},
}

# What this service has no route for.
ABSENT = {
    "hash_password": ("secret",),
    "verify_password": ("secret", "$argon2id$"),
    "check_password_strength": ("secret",),
    "jws_sign": (b"payload", b"key"),
    "jws_verify": ("a.b.c", b"key"),
    "jwe_encrypt": (b"plaintext", b"key"),
    "jwe_decrypt": ("a.b.c.d.e", b"key"),
    "generate_jwk": (),
    "generate_key_exchange_keys": (),
    "derive_shared_secret": (b"mine", b"yours"),
    "hybrid_encrypt": (b"plaintext", b"key"),
    "hybrid_decrypt": (b"ciphertext", b"key"),
    "split_secret": (b"secret", 2, 3),
    "combine_shares": ([{"index": 1, "value": b"share"}],),
    "create_lease": (b"secret",),
    "get_lease": ("lease",),
    "renew_lease": ("lease",),
    "revoke_lease": ("lease",),
    "scan_binary": (b"data",),
    "quick_scan": (b"data",),
    "scan_code": ("import hashlib",),
    "scan_code_quick": ("import hashlib",),
    "generate_cbom": ("import hashlib",),
    "get_detectable_algorithms": (),
    "get_supported_languages": (),
    "generate_csr": ("example.org",),
    "generate_self_signed_cert": ("example.org",),
    "parse_certificate": ("pem",),
    "verify_certificate": ("pem",),
    "verify_certificate_chain": (["pem"],),
    "scan_dependencies": ("requests",),
    "scan_dependencies_quick": ("requests",),
    "get_known_packages": (),
    "get_identity_info": (),
    "list_contexts": (),
}


def absent(client):
    for name, arguments in ABSENT.items():
        refused(CryptoServeError, lambda: getattr(client, name)(*arguments), 404, "Not found")


def errors(base):
    wrong = CryptoClient(base, TOKEN[:-4] + "AAAA")
    refused(AuthenticationError, lambda: wrong.encrypt(b"", "general"), 401)
    narrow = CryptoClient(base, NARROW)
    assert narrow.decrypt(narrow.encrypt(b"x", "general"), "general") == b"x"
    refused(AuthorizationError, lambda: narrow.encrypt(b"", "user-pii"), 403, "GET /api/v1/contexts")
    foreign = CLIENTS[0].encrypt(b"", "user-pii")
    refused(AuthorizationError, lambda: narrow.decrypt(foreign, "user-pii"), 403)
    refused(ContextNotFoundError, lambda: CLIENTS[0].encrypt(b"", "nothing"), 404, "GET /api/v1/contexts")


def limits(base):
    plain = {"id": "1", "plaintext": ""}
    batch = {"context": "general", "items": [plain | {"id": str(n)} for n in range(int(os.environ["BURST"]))]}
    everything = requests.post(f"{base}/v1/crypto/batch/encrypt", json=batch, headers={"Authorization": f"Bearer {LIMITED}"})
    assert everything.status_code == 200, everything.text

    def until_refused():
        with CryptoClient(base, LIMITED) as client:
            for _ in range(100):
                client.encrypt(b"", "general")

    error = refused(RateLimitError, until_refused, 429, "identity")
    assert type(error.retry_after) is int and error.retry_after >= 1
    # As it is meant to be used: it waits as long as it is told.
    CryptoClient(base, LIMITED, enable_resilience=True).encrypt(b"", "general")


def nobody_there():
    with socket.socket() as taken:
        # Bound and not listening: refused, and nobody else's.
        taken.bind(("127.0.0.1", 0))
        client = CryptoClient("http://127.0.0.1:%d" % taken.getsockname()[1], TOKEN, enable_resilience=True)
        refused(requests.ConnectionError, lambda: client.encrypt(b"", "general"))


async def asynchronous(base):
    async with AsyncCryptoClient(base, TOKEN) as client:
        ciphertext = await client.encrypt(MESSAGE, "user-pii")
        assert await client.decrypt(ciphertext, "user-pii") == MESSAGE
        assert await client.health_check() == {"status": "healthy"}
        for call, kind, status in (
            (client.get_identity_info(), CryptoServeError, 404),
            (client.encrypt(b"", "nothing"), ContextNotFoundError, 404),
        ):
            try:
                await call
            except CryptoServeError as error:
                assert type(error) is kind and error.status_code == status, error
            else:
                raise AssertionError("refused")


CLIENTS = [CryptoClient(base, TOKEN) for base in BASES]
assert public(CryptoClient) == set(ABSENT).union(*WORKS.values())
assert public(AsyncCryptoClient) == {"encrypt", "decrypt", "get_identity_info", "health_check", "close"}
# What one does the next undoes: with the other form of the base URL, and in the end on every server.
for here, there in zip(CLIENTS, CLIENTS[1:] + CLIENTS[:1]):
    for work in WORKS:
        work(here, there)
for client in CLIENTS[:2]:
    absent(client)
    asyncio.run(asynchronous(client.server_url))
    errors(client.server_url)
example("aad=", SERVERS[0], token=TOKEN)
limits(BASES[0])
nobody_there()
