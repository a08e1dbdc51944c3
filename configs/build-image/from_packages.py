"""Makes the build image out of the packages of this Debian host, where no registry can be reached.

    python3 configs/build-image/from_packages.py | docker import \\
        --change 'USER build' --change 'WORKDIR /workspace' - kedge/build-image

It packs the files of the packages, the shared libraries that they need, and the runner: no package is
downloaded, nothing on the host changes. Needs `python3` and `git` of Debian; other packages go along
where they are installed, more of them with `--with NAME`.
"""

from __future__ import annotations

import argparse
import glob
import importlib.util
import io
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).resolve().parent
NEEDED = ("bash", "coreutils", "dash", "git", "grep", "python3", "python3.11", "sed", "tar")
WELCOME = (
    "ca-certificates",
    "findutils",
    "gawk",
    "gzip",
    "hostname",
    "mawk",
    "nodejs",
    "procps",
    "python3-venv",
    "zstd",
)
LEFT_OUT = re.compile(r"/usr/(share/(doc|man|locale|lintian|bash-completion|info|gitweb)|include)(/|$)")
LIBRARY = re.compile(r"(/[^ \n:]+\.so[^ \n:]*) \(")
FOLDERS = "proc sys dev etc etc/ssl etc/ssl/certs root run usr usr/bin usr/lib usr/lib64 usr/sbin var opt"
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nbuild:x:1000:1000::/workspace:/bin/sh\n"
    "nobody:x:65534:65534::/nonexistent:/bin/false\n",
    "etc/group": "root:x:0:\nbuild:x:1000:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}
BUILD_USER = 1000


def main() -> int:
    """Write the image's files to standard output, as a tar archive; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--with", dest="more", action="append", default=[], metavar="PACKAGE")
    parser.add_argument("--without", action="append", default=[], metavar="PACKAGE")
    parser.add_argument("--runner", type=Path, default=_find_runner())
    given = parser.parse_args()
    try:
        names = _with_dependencies([*NEEDED, *given.more], [*WELCOME], {*given.without})
        files = _with_libraries(_files_of(names))
    except FileNotFoundError as error:
        return _fail(f"{error.filename} is missing: this script needs a Debian host")
    except LookupError as error:
        return _fail(str(error))
    if not (given.runner / "main.py").exists():
        return _fail(f"{given.runner} is not the runner; name the folder of the package by --runner")
    if sys.stdout.isatty():
        return _fail("the image is not for a terminal; pipe it into `docker import`, as `--help` shows")
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as tar:
        _write(tar, files, given.runner)
    return 0


def _find_runner() -> Path:
    """Beside this script in the source tree, else as it is installed."""
    beside = HERE.parent.parent / "core" / "kedge_runner"
    spec = None if beside.exists() else importlib.util.find_spec("kedge_runner")
    return Path(spec.origin).parent if spec and spec.origin else beside


def _with_dependencies(needed: list[str], welcome: list[str], without: set[str]) -> list[str]:
    """The packages, and of those that Python's and git's are split into the parts."""
    installed = _installed()
    missing = [name for name in needed if name not in installed]
    if missing:
        raise LookupError(
            f"not installed here: {', '.join(missing)}. Run: apt-get install {' '.join(missing)}"
        )
    parts = [name for name in installed if re.fullmatch(r"(lib)?python3(\.\d+)?-(minimal|stdlib|venv)", name)]
    return sorted({*needed, *parts, *(name for name in welcome if name in installed)} - without)


def _installed() -> set[str]:
    listed = _run("dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package}\n")
    return {line.split()[1] for line in listed.splitlines() if line.startswith("ii")}


def _files_of(packages: list[str]) -> set[Path]:
    listed = {Path(line) for line in _run("dpkg", "-L", *packages).splitlines() if line.startswith("/")}
    kept = (path for path in listed if not LEFT_OUT.match(str(path)))
    # links to folders would stand beside the folder that is reached by them
    files = {path for path in kept if path.is_file() or (path.is_symlink() and not path.is_dir())}
    return files | {code for path in files if path.suffix == ".py" for code in _bytecode(path)}


def _bytecode(path: Path) -> list[Path]:
    """What Debian compiled when the package was installed: a container could not keep it."""
    return list((path.parent / "__pycache__").glob(f"{glob.escape(path.stem)}.*.pyc"))


def _with_libraries(files: set[Path]) -> set[Path]:
    programs = [str(path) for path in files if path.is_file() and _is_program(path)]
    libraries = {Path(name) for name in LIBRARY.findall(_run("ldd", *programs, check=False))}
    lookups = set(Path("/lib").glob("*-linux-gnu/libnss_[fd]*.so.2"))
    reached: set[Path] = set()
    for path in files | libraries | lookups:
        reached |= _chain(path)
    return reached


def _chain(path: Path) -> set[Path]:
    """A file, and what it leads to if it is a link; folders by their true names."""
    found: set[Path] = set()
    while True:
        path = path.parent.resolve() / path.name
        if path in found or not (path.exists() or path.is_symlink()):
            return found
        found.add(path)
        if not path.is_symlink():
            return found
        path = path.parent / path.readlink()


def _is_program(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


def _write(tar: tarfile.TarFile, files: set[Path], runner: Path) -> None:
    for name in (*FOLDERS.split(), "opt/kedge"):
        _add_folder(tar, name, 0o755)
    for name in ("tmp", "var/tmp"):
        _add_folder(tar, name, 0o1777)
    _add_folder(tar, "workspace", 0o755, owner=BUILD_USER)
    for name in ("bin", "lib", "lib64", "sbin"):
        _add_link(tar, name, f"usr/{name}")
    for name, text in FILES.items():
        _add_text(tar, name, text)
    certificates = Path("/etc/ssl/certs/ca-certificates.crt")
    if certificates.exists():
        _add_text(tar, str(certificates).lstrip("/"), certificates.read_text())
    for path in sorted(files):
        if not path.is_relative_to("/etc/ssl"):
            tar.add(path, str(path).lstrip("/"), recursive=False)
    with TemporaryDirectory() as folder:
        kedge = Path(folder)
        shutil.copy(HERE / "start_runner.py", kedge / "__main__.py")
        shutil.copytree(runner, kedge / "kedge_runner", ignore=shutil.ignore_patterns("__pycache__"))
        _run("/usr/bin/python3", "-m", "compileall", "-q", folder)
        for path in sorted(kedge.iterdir()):
            tar.add(path, f"opt/kedge/{path.name}", filter=_of_root)


def _of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.mode |= 0o444
    return member


def _add_folder(tar: tarfile.TarFile, name: str, mode: int, owner: int = 0) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.uid, member.gid = tarfile.DIRTYPE, mode, owner, owner
    tar.addfile(member)


def _add_link(tar: tarfile.TarFile, name: str, target: str) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    tar.addfile(member)


def _add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode()
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o644
    tar.addfile(member, io.BytesIO(data))


def _run(*argv: str, check: bool = True) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise LookupError(f"{argv[0]} failed: {done.stderr.strip()}")
    return done.stdout


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
