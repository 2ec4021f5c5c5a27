"""The machine's own system folders: a namespace of mounts, where this computer allows one.

In it, /etc, /run and some others are the machine's: what this computer has there is
still seen, what the machine writes goes to its folder. An ordinary user needs a user namespace for
that (user_namespaces(7)), in which it is root; a container without CAP_SYS_ADMIN and a kernel
that restricts user namespaces allow neither.
"""

import ctypes
import os
from pathlib import Path

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
PR_CAPBSET_DROP, CAP_SYS_BOOT = 24, 22
# Of each folder: what the machine has of its own instead of this computer's.
FOLDERS: dict[str, tuple[str, ...] | None] = {
    "etc": ("systemd", "cloudburst", "docker", "ecs"),
    "run": None,
    "var/lib": ("cloudburst", "systemd", "docker", "cloud"),
    "var/log": ("cloudburst",),
    "usr/local/sbin": ("cloudburst",),
    "usr/local/lib": ("cloudburst",),
}
BOOT_ID = "proc/sys/kernel/random/boot_id"
# Absolute paths of these programs must not reach this computer's.
PROGRAMS = ("docker", "systemctl", "systemd-run", "shutdown", "reboot", "poweroff", "halt")
_libc = ctypes.CDLL(None, use_errno=True)


def enter(folder: Path) -> bool:
    """Give this process the machine's system folders; whether that was possible."""
    root = folder / "root"
    if any(folder.is_relative_to(f"/{name}") for name in FOLDERS):
        return False
    try:
        _unshare()
        _mount("none", "/", MS_REC | MS_PRIVATE)
        for name, own in FOLDERS.items():
            _own(Path("/", name), root / name, folder / "host" / name, own)
        _mount(str(root / BOOT_ID), f"/{BOOT_ID}", MS_BIND)
        for path in {path for program in PROGRAMS for path in _installed(program)}:
            _mount(str(folder / "bin" / path.name), str(path), MS_BIND)
    except OSError:
        return False
    # Root of this computer must not power it off by mistake.
    _libc.prctl(PR_CAPBSET_DROP, CAP_SYS_BOOT, 0, 0, 0)
    return True


def _installed(program: str) -> set[Path]:
    """Return where this computer has a program; not links to another one, such as systemctl."""
    places = [Path(place, program) for place in ("/usr/bin", "/usr/sbin", "/bin", "/sbin")]
    found = {place.resolve() for place in places if place.exists()}
    return {path for path in found if path.name == program}


def _unshare() -> None:
    """Leave this computer's mounts, as root or as root of a user namespace."""
    if _libc.unshare(CLONE_NEWNS) == 0:
        return
    user, group = os.getuid(), os.getgid()
    _check(_libc.unshare(CLONE_NEWUSER | CLONE_NEWNS), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")


def _own(place: Path, mine: Path, theirs: Path, own: tuple[str, ...] | None) -> None:
    """Mount the machine's folder at a place; all but `own` leads to what is there already.

    Args:
        place: the folder.
        mine: the machine's.
        theirs: where this computer's will be seen.
        own: names that are the machine's alone; None for all.
    """
    mine.mkdir(parents=True, exist_ok=True)
    theirs.mkdir(parents=True, exist_ok=True)
    _mount(str(place), str(theirs), MS_BIND | MS_REC)
    for entry in theirs.iterdir():
        link = mine / entry.name
        if own is None or entry.name in own or link.is_symlink() or link.exists():
            continue
        # A relative link (/etc/resolv.conf) leads somewhere only from its own place.
        link.symlink_to(entry.readlink() if entry.is_symlink() else entry)
    if own is None and (resolve := theirs / "systemd/resolve").is_dir():
        (mine / "systemd").mkdir(exist_ok=True)
        if not (mine / "systemd/resolve").is_symlink():
            (mine / "systemd/resolve").symlink_to(resolve)
    _mount(str(mine), str(place), MS_BIND)


def _mount(source: str, target: str, flags: int) -> None:
    _check(_libc.mount(source.encode(), target.encode(), None, flags, None), target)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
