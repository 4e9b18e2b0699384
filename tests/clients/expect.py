"""What the scripts beside this one share."""

import ipaddress
import pathlib
import re
import sys

DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "clients.md"


def loopback_only():
    """From now on this process may talk to this machine alone: an import that asks the internet fails."""

    def check(event, arguments):
        if event in ("socket.getaddrinfo", "socket.gethostbyname"):
            host = arguments[0]
        elif event in ("socket.connect", "socket.sendto"):
            address = arguments[1]
            host = address[0] if isinstance(address, tuple) else None
        else:
            return
        if host not in (None, "localhost") and not ipaddress.ip_address(host).is_loopback:
            raise AssertionError(f"{event} to {host}")

    sys.addaudithook(check)


def refused(kind, call, status=None, says=""):
    """The error with which `call` fails: exactly a `kind`, of that status, with these words in it."""
    try:
        result = call()
    except Exception as error:
        assert type(error) is kind, f"{type(error).__name__}: {error}"
        assert getattr(error, "status_code", None) == status, f"not {status}: {error}"
        assert says in str(error), str(error)
        return error
    raise AssertionError(f"{kind.__name__} was expected, not {result!r}")


def public(thing):
    """The names of what a class offers, which docs/clients.md has all."""
    names = {name for name in dir(thing) if not name.startswith("_")}
    words = {word for quoted in re.findall(r"`([^`\n]+)`", DOCUMENT.read_text()) for word in re.findall(r"\w+", quoted)}
    missing = {name for name in names if not name.isupper()} - words
    assert not missing, f"docs/clients.md says nothing of {missing}"
    return names


def example(which, server, **given):
    """Runs the example of docs/clients.md that has the text `which`."""
    [block] = [block for block in re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL) if which in block]
    exec(block.replace("http://127.0.0.1:8003", server), given)
