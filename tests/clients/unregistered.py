"""Where cryptoserve 1.4.3 says that it could not register an app.

CRYPTOSERVE_SERVER_URL    the base URL
REFUSED                   an access token without the scope `register`
"""

import os
import sys

from expect import loopback_only, refused

loopback_only()

from cryptoserve import CryptoServe, CryptoServeNotLoggedInError, CryptoServeRegistrationError
from cryptoserve.__main__ import main

SERVER = os.environ["CRYPTOSERVE_SERVER_URL"]


def log_in(token):
    sys.argv = ["cryptoserve", "login", "--server", SERVER, "--cookie", token]
    assert main() == 0


def start():
    return CryptoServe("shop", contexts=["general"])


refused(CryptoServeNotLoggedInError, start, says="cryptoserve login")
log_in("not.a.token")
refused(CryptoServeNotLoggedInError, start, says="expired")
log_in(os.environ["REFUSED"])
refused(CryptoServeRegistrationError, start, says="403")
# Without a server URL of its own it takes the one of the log-in.
assert CryptoServe("shop", auto_register=False).server_url == SERVER
