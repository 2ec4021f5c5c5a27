"""curl, for the two places a machine asks: its metadata, and its own container."""

# ruff: noqa: T201 - what a command says, it prints
import http.client
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from _machine import ARGUMENTS, MACHINE, container, fail, record

METADATA = "169.254.169.254"
SWITCHES = {
    "-s": "silent",
    "--silent": "silent",
    "-S": "show",
    "--show-error": "show",
    "-f": "fail",
    "--fail": "fail",
    "-L": "",
    "--location": "",
    "--retry-connrefused": "",
    "--retry-all-errors": "",
    "-4": "",
}
VALUES = {
    "-X": "method",
    "--request": "method",
    "-H": "header",
    "--header": "header",
    "-m": "time",
    "--max-time": "time",
    "--connect-timeout": "",
    "--retry": "retry",
    "--retry-delay": "",
    "--retry-max-time": "",
    "-o": "output",
    "--output": "output",
    "-w": "",
    "--write-out": "",
    "--noproxy": "",
}


class Asked:
    """What the command line asks for."""

    def __init__(self) -> None:
        self.flags: set[str] = set()
        self.method = "GET"
        self.headers: dict[str, str] = {}
        self.time = 60.0
        self.retry = 0
        self.output = "-"
        self.url = ""


def parse(arguments: list[str]) -> Asked:
    asked, words = Asked(), list(arguments)
    while words:
        word = words.pop(0)
        if word in VALUES:
            take(asked, VALUES[word], words.pop(0))
        elif word in SWITCHES:
            asked.flags.add(SWITCHES[word])
        elif word.startswith("--") and "=" in word:
            fail(f"curl: option {word}: is unknown", 2)
        elif word.startswith("-") and len(word) > 2 and word[1] != "-":
            # -sf is -s -f, and the last of the letters may have a value: -sfm 5, -m5.
            rest = word[2:]
            words = [word[:2], rest if word[:2] in VALUES else f"-{rest}", *words]
        elif word.startswith("-"):
            fail(f"curl: option {word}: is unknown", 2)
        else:
            asked.url = word
    return asked


def take(asked: Asked, name: str, value: str) -> None:
    if name == "header":
        key, _, text = value.partition(":")
        asked.headers[key.strip()] = text.strip()
    elif name == "time":
        asked.time = float(value)
    elif name == "retry":
        asked.retry = int(value)
    elif name:
        setattr(asked, name, value)


def place(url: str) -> tuple[str, int, str]:
    """Say where on this computer an address of the machine's world is."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if parts.hostname == METADATA:
        control = urlsplit(MACHINE["control"])
        return str(control.hostname), int(control.port or 0), control.path + path
    if parts.hostname in ("localhost", "127.0.0.1"):
        here = container()
        if (parts.port or 80) == here.get("published"):
            return str(here["address"]), int(str(here["port"])), path
        return "127.0.0.1", 1, path  # nothing listens there
    fail(f"curl: (6) Could not resolve host: {parts.hostname}", 6)
    raise AssertionError


def ask(asked: Asked) -> tuple[int, str, bytes]:
    """Give curl's exit code and message, and the body."""
    host, port, path = place(asked.url)
    connection = http.client.HTTPConnection(host, port, timeout=asked.time)
    try:
        connection.request(asked.method, path, headers=asked.headers)
        answer = connection.getresponse()
        body = answer.read()
    except TimeoutError:
        return 28, f"Operation timed out after {asked.time * 1000:.0f} milliseconds", b""
    except OSError:
        return 7, f"Failed to connect to {urlsplit(asked.url).netloc}", b""
    except http.client.HTTPException:
        return 52, "Empty reply from server", b""
    finally:
        connection.close()
    if answer.status >= 400 and "fail" in asked.flags:
        return 22, f"The requested URL returned error: {answer.status}", b""
    return 0, "", body


def main() -> None:
    asked = parse(ARGUMENTS)
    # Headers carry tokens and keys.
    record([word for word in ARGUMENTS if ":" not in word or "://" in word])
    for left in range(asked.retry, -1, -1):
        code, message, body = ask(asked)
        if code == 0 or left == 0:
            break
        time.sleep(0.2)
    if message and ("silent" not in asked.flags or "show" in asked.flags):
        print(f"curl: ({code}) {message}", file=sys.stderr)
    if asked.output != "-":
        Path(asked.output).write_bytes(body)
    else:
        sys.stdout.buffer.write(body)
    sys.exit(code)


main()
