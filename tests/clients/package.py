"""Every method of cryptoserve 1.4.3.

HOME      of the machine
SHARED    a directory that several machines share
STEP      first: the app is new; second: another machine registers it too; later: another process on the first

CRYPTOSERVE_SERVER_URL and CRYPTOSERVE_TOKEN are the user's, for the log-in and for what the package does without an app.
"""

import base64
import contextlib
import hashlib
import hmac
import io
import json
import os
import pathlib
import sys

from expect import example, loopback_only, public, refused

loopback_only()

import cryptoserve
import cryptoserve_core
from cryptoserve import CryptoServe, Usage
from cryptoserve import client as errors
from cryptoserve.__main__ import main

CREDENTIALS = pathlib.Path.home() / ".cryptoserve" / "apps" / "shop_production.json"
SHARED = pathlib.Path(os.environ["SHARED"]) / "shared.json"
CONTEXTS = ["general", "user-pii"]
MESSAGE = bytes(range(256))


def log_in():
    server, token = (os.environ[name] for name in ("CRYPTOSERVE_SERVER_URL", "CRYPTOSERVE_TOKEN"))
    assert command("login", "--server", server, "--cookie", token)[0] == 0


def start(**options):
    """The app, and what the package prints of it."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        asked = CONTEXTS + ["payment-data"]
        app = CryptoServe("shop", team="platform", environment="production", contexts=asked, **options)
    return app, printed.getvalue()


def stored():
    return json.loads(CREDENTIALS.read_text())


def access_token(app):
    return app.client.session.headers["Authorization"].removeprefix("Bearer ")


def encryption(app):
    for aad in (None, b"row 7"):
        ciphertext = app.encrypt(MESSAGE, "user-pii", aad)
        assert app.decrypt(ciphertext, "user-pii", aad) == MESSAGE
        refused(errors.CryptoServeError, lambda: app.decrypt(ciphertext, "user-pii", b"row 8"), says="altered")
    for usage in (Usage.AT_REST, "in_use", cryptoserve.STREAMING):
        assert app.decrypt(app.encrypt(b"x", "general", usage=usage), "general") == b"x"
    refused(ValueError, lambda: app.encrypt(b"x", "general", usage="elsewhere"))
    text = app.encrypt_string("grüße", "general", b"aad")
    assert app.decrypt_string(text, "general", b"aad") == "grüße"
    thing = {"list": [1, None, "x"]}
    assert app.decrypt_json(app.encrypt_json(thing, "general"), "general") == thing
    # Nobody got a key: the package stays on the server.
    assert app.cache_stats()["enabled"] and app.cache_stats()["size"] == 0
    assert app.invalidate_cache() == 0 and app.invalidate_cache("general") == 0
    app.configure_cache(ttl=1, max_size=1)


def refusals(app):
    refused(errors.AuthorizationError, lambda: app.encrypt(b"", "payment-data"), says="payment-data")
    refused(errors.ServerError, lambda: app.sign(b"", "nothing"), says="(404): there is no such signing key")
    ciphertext = app.encrypt(b"", "general")
    refused(errors.ContextNotFoundError, lambda: app.decrypt(ciphertext, "user-pii"), says="another context")


def signatures(app):
    # The package makes no keys; the client library, which it brings along, does.
    library = cryptoserve.CryptoClient(app.server_url, os.environ["CRYPTOSERVE_TOKEN"])
    # This puts the token into a path.
    refused(cryptoserve.CryptoServeError, library.list_contexts, 404)
    key = library.generate_signing_key("ed25519", "general")
    signature = app.sign(MESSAGE, key["key_id"])
    assert app.verify_signature(MESSAGE, signature, key["key_id"]) is True
    assert app.verify_signature(b"other", signature, key["key_id"]) is False
    pem = key["public_key_pem"]
    assert app.verify_signature(MESSAGE, signature, public_key=pem.encode()) is True
    # It takes bytes, though it says text.
    refused(TypeError, lambda: app.verify_signature(MESSAGE, signature, public_key=pem))
    return key["key_id"], signature


def other_apps():
    with contextlib.redirect_stdout(io.StringIO()):
        # It asks for `default`, which is `general` here.
        plain = CryptoServe("plain")
    assert plain.decrypt(plain.encrypt(b"x", "general"), "general") == b"x"
    refused(errors.AuthorizationError, lambda: plain.encrypt(b"", "user-pii"))
    hopeless = lambda: CryptoServe("hopeless", contexts=["payment-data"])
    refused(cryptoserve.CryptoServeRegistrationError, hopeless, says="GET /api/v1/contexts")


def on_the_machine(app):
    """What needs no server."""
    assert app.hash(MESSAGE, "sha3-256") == hashlib.sha3_256(MESSAGE).hexdigest()
    assert app.mac(MESSAGE, b"k" * 32) == hmac.new(b"k" * 32, MESSAGE, "sha256").hexdigest()
    local = CryptoServe.local(master_key=bytes(32))
    assert local.decrypt(local.encrypt(b"x", "general"), "general") == b"x"
    assert local.health_check() is True
    easy = cryptoserve_core.encrypt(b"moved", "password")
    assert app.decrypt(CryptoServe.migrate_from_easy(easy, "password", app, "general"), "general") == b"moved"


def reports():
    """Its reports to the Python service are refused, which it takes for consent."""
    result = cryptoserve.init(async_reporting=False, block_on_violations=True)
    assert result and result.action == "allow" and result.libraries
    assert cryptoserve.get_init_status()["initialized"]
    assert cryptoserve.export_cbom().cbom["components"]
    assert cryptoserve.get_pqc_recommendations("financial").key_findings
    refused(ImportError, cryptoserve.auto_protect)
    refused(AttributeError, lambda: cryptoserve.crypto.encrypt)


def command(*arguments):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        before, sys.argv = sys.argv, ["cryptoserve", *arguments]
        try:
            return main(), printed.getvalue()
        finally:
            sys.argv = before


def commands():
    for arguments, status, says in (
        (["verify"], 0, "SDK Connected"),
        (["status"], 0, "SDK Connected"),
        (["configure", "--token", "anything"], 0, "Server reachable"),
        (["info"], 1, "404"),
        (["contexts"], 1, "404"),
        (["contexts", "--example", "general"], 1, "not found"),
        (["promote", "shop"], 1, "404"),
    ):
        result, printed = command(*arguments)
        assert result == status and says in printed, f"{arguments}: {result} {printed}"


def refreshes(app):
    """As if the access token were always about to end: a new one before each request, by the same refresh token."""
    app.client.REFRESH_THRESHOLD_SECONDS = 24 * 3600
    seen = {access_token(app)}
    for count in (2, 3):
        ciphertext = app.encrypt(b"x", "general")
        seen.add(access_token(app))
        assert len(seen) == count
    app.client.REFRESH_THRESHOLD_SECONDS = 300
    assert app.decrypt(ciphertext, "general") == b"x"
    assert access_token(app) in seen


def first():
    log_in()
    app, printed = start()
    assert printed == "[CryptoServe] Registered new app: shop (production)\n"
    # What the user may use, and not all that was asked for.
    assert sorted(stored()["contexts"]) == CONTEXTS
    assert app.app_id == stored()["app_id"] and app.health_check() is True
    assert public(CryptoServe) == {
        "app_id", "client", "health_check", "local", "hash", "mac", "sign", "verify_signature", "migrate_from_easy",
        "encrypt", "decrypt", "encrypt_string", "decrypt_string", "encrypt_json", "decrypt_json",
        "cache_stats", "invalidate_cache", "configure_cache",
    }
    encryption(app)
    refusals(app)
    key_id, signature = signatures(app)
    on_the_machine(app)
    other_apps()
    reports()
    commands()
    refreshes(app)
    shared = {
        "app_id": app.app_id,
        "refresh_token": stored()["refresh_token"],
        "ciphertext": app.encrypt_string("from the first", "user-pii"),
        "key_id": key_id,
        "signature": base64.b64encode(signature).decode(),
    }
    SHARED.write_text(json.dumps(shared))


def second():
    log_in()
    app, printed = start()
    assert printed == "[CryptoServe] Connected to: shop (production)\n"
    shared = json.loads(SHARED.read_text())
    assert app.app_id == shared["app_id"] and stored()["refresh_token"] != shared["refresh_token"]
    assert app.decrypt_string(shared["ciphertext"], "user-pii") == "from the first"
    assert app.verify_signature(MESSAGE, base64.b64decode(shared["signature"]), shared["key_id"])
    refreshes(app)


def later():
    """The first machine's refresh token is as good as before, and nothing is registered again."""
    shared = json.loads(SHARED.read_text())
    assert stored()["refresh_token"] == shared["refresh_token"]
    expired = base64.urlsafe_b64encode(b'{"exp":1}').decode().rstrip("=")
    for stale in (stored()["access_token"], f"e30.{expired}.e30", "not.a.token"):
        CREDENTIALS.write_text(json.dumps(stored() | {"access_token": stale}))
        app, printed = start(enable_cache=False)
        assert printed == ""
        assert app.decrypt_string(shared["ciphertext"], "user-pii") == "from the first"
    refreshes(app)
    example("CryptoServe(", "")
    assert app.cache_stats()["enabled"] is False


{"first": first, "second": second, "later": later}[os.environ["STEP"]]()
