"""cryptoserve-client 0.3.0 with a refresh token, with both forms of its base URL.

SERVERS    the addresses of servers on one store
REFRESH    a refresh token of a service that may use the context `general`
"""

import base64
import json
import os

from expect import example, loopback_only, refused

loopback_only()

from cryptoserve_client import AuthenticationError, CryptoClient, TokenRefreshError

REFRESH = os.environ["REFRESH"]
BASES = [f"http://{address}{path}" for address in os.environ["SERVERS"].split() for path in ("", "/api")]


def claims(**claims):
    """An access token that no server made: the client reads its claims and trusts them."""
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.e30"


EXPIRED, UNKNOWN = claims(exp=1), "not.a.token"

for base in BASES:
    # It has expired, so the client asks before its first request; or the server says so, and the client asks then.
    for stale in (EXPIRED, UNKNOWN):
        with CryptoClient(base, stale, refresh_token=REFRESH) as client:
            ciphertext = client.encrypt(b"x", "general")
            first = client.token
            assert first != stale
            assert client.decrypt(ciphertext, "general") == b"x"
            # It is good for longer than the five minutes before its end.
            assert client.token == first
            # As if it were not: before each request, always with the same refresh token.
            client.REFRESH_THRESHOLD_SECONDS = 24 * 3600
            seen = {first}
            for count in (2, 3):
                assert client.decrypt(ciphertext, "general") == b"x"
                seen.add(client.token)
                assert len(seen) == count

given = {"CryptoClient": CryptoClient, "access_token": EXPIRED, "refresh_token": REFRESH}
example("refresh_token=", BASES[0], **given)

wrong = CryptoClient(BASES[0], EXPIRED, refresh_token=REFRESH[:-4] + "AAAA")
refused(TokenRefreshError, lambda: wrong.encrypt(b"", "general"), says="invalid or expired")
# It does not try again.
refused(AuthenticationError, lambda: wrong.encrypt(b"", "general"), 401)
wrong = CryptoClient(BASES[1], UNKNOWN, refresh_token=REFRESH[:-4] + "AAAA")
refused(AuthenticationError, lambda: wrong.encrypt(b"", "general"), 401)
without = CryptoClient(BASES[0], UNKNOWN, refresh_token=REFRESH, auto_refresh=False)
refused(AuthenticationError, lambda: without.encrypt(b"", "general"), 401)
