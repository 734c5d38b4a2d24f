"""Execute the lines of a Dockerfile without a container engine: each stage in a fresh copy of a Debian tree, by chroot.

As root: debootstrap --variant=minbase bookworm TREE && python scripts/run_dockerfile.py docker/Dockerfile.cpu TREE
WORK.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
CONTEXT = (
    "csrc",
    "constraints",
    "edgepers",
    "docker/requirements.py",
    "pyproject.toml",
    "setup.py",
    "MANIFEST.in",
    "README.md",
)


def instructions(text: str) -> list[tuple[str, str]]:
    """(word, rest) of each instruction; comments are left out and continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines())]


def copy(rest: str, tree: Path, stages: dict[str, Path]) -> None:
    """COPY, from the context or from another stage."""
    words = shlex.split(rest)
    source = ROOT
    if words[0].startswith("--from="):
        source = stages[words.pop(0).removeprefix("--from=")]
    *names, target = words
    place = tree / target.lstrip("/")
    for name in CONTEXT if names == ["."] else names:
        found = source / name.lstrip("/")
        inside = name if names == ["."] else found.name
        to = place if len(names) == 1 and names != ["."] and not target.endswith("/") else place / inside
        to.parent.mkdir(parents=True, exist_ok=True)
        if found.is_dir():
            shutil.copytree(
                found,
                to,
                symlinks=True,
                dirs_exist_ok=True,
                ignore=shutil.ignore_patterns("__pycache__", "*.so") if source == ROOT else None,
            )
        else:
            shutil.copy2(found, to)


def main() -> int:
    """Run it; a line that fails ends it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dockerfile", type=Path)
    parser.add_argument("tree", type=Path, help="a fresh Debian")
    parser.add_argument("work", type=Path, help="where the stages' trees are made")
    parser.add_argument("--arg", action="append", default=[], help="NAME=VALUE, as --build-arg")
    parser.add_argument("--env", action="append", default=[], help="NAME=VALUE, of this place: proxies and the like")
    parser.add_argument(
        "--bind", action="append", default=[], help="files and folders of this machine that every line sees"
    )
    given = parser.parse_args()
    stages: dict[str, Path] = {}
    tree, user, folder, env = given.tree, "0", "/", {}
    for word, rest in instructions(given.dockerfile.read_text(encoding="utf-8")):
        if word == "FROM":
            name = rest.partition(" AS ")[2] or "last"
            tree, user, folder, env = given.work / name, "0", "/", {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
            subprocess.run(["cp", "-a", str(given.tree), str(tree)], check=True)
            stages[name] = tree
            for bound in given.bind:
                to = tree / bound.lstrip("/")
                to.parent.mkdir(parents=True, exist_ok=True)
                to.mkdir(exist_ok=True) if Path(bound).is_dir() else to.touch()
                subprocess.run(["mount", "--bind", bound, str(to)], check=True)
            subprocess.run(["mount", "-t", "proc", "proc", str(tree / "proc")], check=True)
        elif word == "ARG":
            name, _, value = rest.partition("=")
            env[name] = dict(one.split("=", 1) for one in given.arg).get(name, shlex.split(value)[0] if value else "")
        elif word == "ENV":
            for pair in shlex.split(rest):
                name, _, value = pair.partition("=")
                env[name] = value.replace("$PATH", env.get("PATH", ""))
        elif word == "COPY":
            copy(rest, tree, stages)
        elif word == "USER":
            user = rest
        elif word == "WORKDIR":
            folder = rest
        elif word == "RUN":
            print(f"== {tree.name}: {rest[:150]}", flush=True)
            here = {**dict(one.split("=", 1) for one in given.env), **env}
            words = [
                "chroot",
                f"--userspec={user}:{user}",
                str(tree),
                "/usr/bin/env",
                "-i",
                *(f"{k}={v}" for k, v in here.items()),
            ]
            subprocess.run(
                [*words, "/bin/sh", "-c", f"cd {folder} && {rest}"], check=True, env={"PATH": os.environ["PATH"]}
            )
        else:
            print(f"== {word} {rest}: not executed", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
