"""curl, for the two servers a machine calls: its metadata service and its own container."""

# ruff: noqa: T201 - a command prints its output
import http.client
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import _containers
from _machine import ARGUMENTS, FOLDER, MACHINE, fail, record

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


class Options:
    """The options of the command line."""

    def __init__(self) -> None:
        self.flags: set[str] = set()
        self.method = "GET"
        self.headers: dict[str, str] = {}
        self.time = 60.0
        self.retry = 0
        self.output = "-"
        self.url = ""


def parse(arguments: list[str]) -> Options:
    """Parse the command line; unknown options end the command as in curl."""
    options, remaining = Options(), list(arguments)
    while remaining:
        argument = remaining.pop(0)
        if argument in VALUES:
            take(options, VALUES[argument], remaining.pop(0))
        elif argument in SWITCHES:
            options.flags.add(SWITCHES[argument])
        elif argument.startswith("--") and "=" in argument:
            fail(f"curl: option {argument}: is unknown", 2)
        elif argument.startswith("-") and len(argument) > 2 and argument[1] != "-":
            # -sf is -s -f, and the last letter may have a value: -sfm 5, -m5.
            first, rest = argument[:2], argument[2:]
            remaining = [first, rest if first in VALUES else f"-{rest}", *remaining]
        elif argument.startswith("-"):
            fail(f"curl: option {argument}: is unknown", 2)
        else:
            options.url = argument
    return options


def take(options: Options, name: str, value: str) -> None:
    """Store the value of an option."""
    if name == "header":
        key, _, text = value.partition(":")
        options.headers[key.strip()] = text.strip()
    elif name == "time":
        options.time = float(value)
    elif name == "retry":
        options.retry = int(value)
    elif name:
        setattr(options, name, value)


def resolve(url: str) -> tuple[str, int, str]:
    """Return host, port and path on this computer for a URL that the machine requests."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if parts.hostname == METADATA:
        control = urlsplit(MACHINE["control"])
        return str(control.hostname), int(control.port or 0), control.path + path
    if parts.hostname not in ("localhost", "127.0.0.1"):
        fail(f"curl: (6) Could not resolve host: {parts.hostname}", 6)
    for state in _containers.every(FOLDER):
        if (parts.port or 80) == state["published"]:
            return str(state["address"]), int(state["port"]), path
    return "127.0.0.1", 1, path  # nothing listens there


def send(options: Options) -> tuple[int, str, bytes]:
    """Send the request; return curl's exit code, error message, and the body."""
    host, port, path = resolve(options.url)
    connection = http.client.HTTPConnection(host, port, timeout=options.time)
    try:
        connection.request(options.method, path, headers=options.headers)
        response = connection.getresponse()
        body = response.read()
    except TimeoutError:
        return 28, f"Operation timed out after {options.time * 1000:.0f} milliseconds", b""
    except OSError:
        return 7, f"Failed to connect to {urlsplit(options.url).netloc}", b""
    except http.client.HTTPException:
        return 52, "Empty reply from server", b""
    finally:
        connection.close()
    if response.status >= 400 and "fail" in options.flags:
        return 22, f"The requested URL returned error: {response.status}", b""
    return 0, "", body


def main() -> None:
    """Run the command."""
    options = parse(ARGUMENTS)
    # Headers carry tokens and keys.
    record([argument for argument in ARGUMENTS if ":" not in argument or "://" in argument])
    for retries in range(options.retry, -1, -1):
        code, message, body = send(options)
        if code == 0 or retries == 0:
            break
        time.sleep(0.2)
    if message and ("silent" not in options.flags or "show" in options.flags):
        print(f"curl: ({code}) {message}", file=sys.stderr)
    if options.output != "-":
        Path(options.output).write_bytes(body)
    else:
        sys.stdout.buffer.write(body)
    sys.exit(code)


main()
