"""Print which constraints file fits this machine: jetson-jp6, jetson-jp7, or generic."""

from pathlib import Path

RELEASE = Path("/etc/nv_tegra_release")


def platform_name(release: str | None) -> str:
    """The stem of a file in constraints/, from the text of /etc/nv_tegra_release or None."""
    if release is None:
        return "generic"
    return "jetson-jp6" if "R36" in release else "jetson-jp7"


if __name__ == "__main__":
    print(platform_name(RELEASE.read_text() if RELEASE.exists() else None))
