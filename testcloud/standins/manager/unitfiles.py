"""The unit files of a machine: found, enabled, masked. systemctl(1), systemd.unit(5)."""

from pathlib import Path

from manager import vendor
from manager.units import Unit, parse

ETC, RUN = "/etc/systemd/system", "/run/systemd/system"


class UnitFiles:
    """The unit files in the folders where systemd looks for them.

    Args:
        root: the folder that has the machine's /etc and /run.
        late_docker: docker.service is ordered after cloud-init.
    """

    def __init__(self, root: Path, *, late_docker: bool) -> None:
        self._root = root
        self._vendor = vendor.units(late_docker=late_docker)
        for place in (ETC, RUN):
            self._at(place).mkdir(parents=True, exist_ok=True)

    def _at(self, place: str) -> Path:
        return self._root / place.lstrip("/")

    def find(self, name: str) -> Unit | None:
        """Return a unit; None if there is none of that name.

        Raises:
            ValueError: its file cannot be read.
        """
        for place in (ETC, RUN):
            path = self._at(place) / name
            if path.is_symlink() and str(path.readlink()) == "/dev/null":
                return Unit(name, f"{place}/{name}", masked=True)
            if path.is_file():
                text = path.read_text() + self._drop_ins(name)
                return Unit(name, f"{place}/{name}", text, sections=parse(text))
        if name in self._vendor:
            text = self._vendor[name] + self._drop_ins(name)
            return Unit(name, f"/usr/lib/systemd/system/{name}", text, sections=parse(text))
        return Unit(name) if name.endswith(".target") and name in vendor.TARGETS else None

    def _drop_ins(self, name: str) -> str:
        folders = [self._at(place) / f"{name}.d" for place in (ETC, RUN)]
        files = [path for folder in folders for path in sorted(folder.glob("*.conf"))]
        return "".join("\n" + path.read_text() for path in files)

    def wanted_by(self, target: str) -> list[str]:
        """List the units that were enabled for a target, those of the image too."""
        links = [
            *self._at(ETC).glob(f"{target}.wants/*"),
            *self._at(ETC).glob(f"{target}.requires/*"),
        ]
        return sorted({link.name for link in links} | vendor.WANTED.get(target, set()))

    def own(self) -> list[str]:
        """List the units that were written on this machine."""
        paths = [path for place in (ETC, RUN) for path in self._at(place).iterdir()]
        return sorted(path.name for path in paths if path.is_file() and "." in path.name)

    def enabled(self, unit: Unit) -> str:
        """Return the state of a unit's file, as `systemctl is-enabled` prints it."""
        if unit.masked:
            return "masked"
        targets = unit.names("Install", "WantedBy") + unit.names("Install", "RequiredBy")
        if any(unit.name in self.wanted_by(target) for target in targets):
            return "enabled"
        if unit.path.startswith(RUN):
            return "transient"
        return "disabled" if targets else "static"

    def enable(self, unit: Unit) -> list[str]:
        """Link a unit into the targets that want it; return what systemctl prints."""
        if unit.masked:
            raise OSError(f"Failed to enable unit: Unit file {unit.path} is masked.")
        printed = []
        kinds = {"WantedBy": "wants", "RequiredBy": "requires"}
        for key, folder in kinds.items():
            for target in unit.names("Install", key):
                link = self._at(ETC) / f"{target}.{folder}" / unit.name
                link.parent.mkdir(exist_ok=True)
                if not link.is_symlink() and unit.name not in vendor.WANTED.get(target, set()):
                    link.symlink_to(unit.path)
                    shown = f"{ETC}/{target}.{folder}/{unit.name}"
                    printed.append(f"Created symlink {shown} → {unit.path}.")
        if not unit.sections.get("Install"):
            printed.append(
                "The unit files have no installation config (WantedBy=, RequiredBy=, Also=,\n"
                "Alias= settings in the [Install] section, and DefaultInstance= for template\n"
                "units). This means they are not meant to be enabled or disabled using systemctl."
            )
        return printed

    def disable(self, unit: Unit) -> list[str]:
        """Remove the links of a unit; return what systemctl prints."""
        links = [*self._at(ETC).glob(f"*.wants/{unit.name}")]
        links += self._at(ETC).glob(f"*.requires/{unit.name}")
        for link in links:
            link.unlink()
        return [f'Removed "{ETC}/{link.parent.name}/{link.name}".' for link in links]

    def mask(self, name: str) -> list[str]:
        """Let nothing start a unit, not even one that does not exist; return what is printed.

        Raises:
            OSError: a file of the administrator is in the way.
        """
        path = self._at(ETC) / name
        printed = []
        if self.find(name) is None:
            printed.append(f"Unit {name} does not exist, proceeding anyway.")
        if path.is_symlink():
            return printed
        if path.exists():
            raise OSError(f"Failed to mask unit: File {ETC}/{name} already exists.")
        path.symlink_to("/dev/null")
        return [*printed, f"Created symlink {ETC}/{name} → /dev/null."]

    def unmask(self, name: str) -> list[str]:
        """Take back `mask`; return what is printed."""
        path = self._at(ETC) / name
        if not path.is_symlink() or str(path.readlink()) != "/dev/null":
            return []
        path.unlink()
        return [f'Removed "{ETC}/{name}".']

    def write(self, name: str, text: str) -> None:
        """Write a transient unit."""
        (self._at(RUN) / name).write_text(text)
