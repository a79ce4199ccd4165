import os
import re
import struct
import sys
import zipfile
from pathlib import Path

import pytest

from ops.deploy import package
from ops.deploy.package import BUDGET, build, check
from ops.deploy.runtime import Target
from ops.deploy.sources import PackageError
from tests import repository

HERE = Target("python{}.{}".format(*sys.version_info), "x86_64")
LAMBDA, ARM = Target("python3.13", "x86_64"), Target("python3.13", "arm64")


def elf(machine: int) -> bytes:
    return b"\x7fELF" + bytes(14) + struct.pack("<H", machine)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for the installed dependencies, which come over the network."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "dependency.py").write_text("VALUE = 1\n")
    monkeypatch.setattr(package, "dependencies", lambda *_: folder)
    return folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = repository.make(tmp_path / "project")
    monkeypatch.setattr(package, "requirements", lambda *_: "")
    monkeypatch.setattr(package, "PROJECT", folder)
    return folder


def archive(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("zappa_settings.py", "DEBUG=False\n")
        out.writestr("handler.py", "anything of Zappa's")
    return path


def entries(tmp_path: Path, files: dict[str, bytes]) -> dict[str, Path]:
    made = {}
    for number, (name, content) in enumerate(files.items()):
        made[name] = tmp_path / f"{number}{Path(name).suffix}"
        if ".cpython" in name:
            made[name] = tmp_path / Path(name).name
        made[name].write_bytes(content)
    return made


def test_what_is_built_is_the_project_and_the_dependencies_and_nothing_of_zappas(
    tmp_path: Path, site: Path, project: Path
) -> None:
    backend = project / "config" / "dsql"
    backend.mkdir()
    for path in (
        project / "config" / "settings_ops.py", backend / "README.md", backend / "py.typed",
    ):  # fmt: skip
        path.write_text("")
    repository.commit(project)
    built = build(archive(tmp_path / "a.zip"), HERE, lambda _: None)
    with zipfile.ZipFile(built.path) as found:
        suffixes = (".py", ".md", ".typed")
        sources = {name for name in found.namelist() if name.endswith(suffixes)}
    assert sources == {"config/__init__.py", "users/__init__.py", "dependency.py"}


def test_bytecode_is_valid_whatever_the_files_dates(
    tmp_path: Path, site: Path, project: Path
) -> None:
    built = build(archive(tmp_path / "a.zip"), HERE, lambda _: None)
    with zipfile.ZipFile(built.path) as found:
        compiled = [found.read(n) for n in found.namelist() if n.endswith(".pyc")]
        dates = {info.date_time for info in found.infolist()}
    assert len(compiled) == 2  # the dependencies are compiled when they are installed
    # PEP 552: bit 0 of the flags is "hash-based", bit 1 "checked".
    assert {struct.unpack_from("<L", content, 4)[0] for content in compiled} == {0b01}
    assert dates == {(1980, 1, 1, 0, 0, 0)}


def test_the_same_project_has_the_same_digest_and_bytes(
    tmp_path: Path, site: Path, project: Path
) -> None:
    one = build(archive(tmp_path / "1.zip"), HERE, lambda _: None)
    two = build(archive(tmp_path / "2.zip"), HERE, lambda _: None)
    assert one.digest == two.digest
    assert one.path.read_bytes() == two.path.read_bytes()
    (project / "users" / "new.py").write_text("A = 1\n")
    repository.commit(project)
    changed = build(archive(tmp_path / "4.zip"), HERE, lambda _: None)
    assert changed.digest != one.digest


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ops/aws.py", "operators' code"),
        ("tests/test_a.py", "a test"),
        ("users/tests/test_a.py", "a test"),
        ("config/test_settings.py", "a test"),
        (".env", "an environment file"),
        ("config/.env.production", "an environment file"),
        ("users/db.sqlite3", "a database"),
    ],
)
def test_what_must_not_ship_is_named(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(PackageError, match=f"{name} is {reason}"):
        check(entries(tmp_path, {name: b""}), LAMBDA)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a/_speedups.cpython-313-darwin.so", b"\xcf\xfa\xed\xfe" + bytes(20)),
        ("a/lib.so.1", elf(183)),
        ("a/lib.dylib", elf(62)),
        ("a/_speedups.cpython-39-x86_64-linux-gnu.so", elf(62)),
        ("a/_speedups.cpython-311-x86_64-linux-gnu.so", elf(62)),
    ],
)
def test_a_binary_of_another_platform_is_refused(
    tmp_path: Path, name: str, content: bytes
) -> None:
    with pytest.raises(
        PackageError, match=r"is not a Linux x86_64 binary of python3\.13"
    ):
        check(entries(tmp_path, {name: content}), LAMBDA)


def test_a_binary_of_the_functions_platform_is_accepted(tmp_path: Path) -> None:
    intel = "a/_speedups.cpython-313-x86_64-linux-gnu.so"
    check(entries(tmp_path, {"a/lib.so.1": elf(62), intel: elf(62)}), LAMBDA)
    check(entries(tmp_path, {"a/lib.so.1": elf(183), "a/b.abi3.so": elf(183)}), ARM)


@pytest.mark.parametrize(
    "text",
    [
        "KEY = 'AKIAIOSFODNN7EXAMPLE'",
        "KEY = '''-----BEGIN EC PRIVATE KEY-----'''",
        "KEY = 'the secret of this shell'",
        "TOKEN = 'ghp_" + "a1B2" * 9 + "'",
        "TOKEN = 'github_pat_" + "a1B2" * 9 + "'",
    ],
)
def test_a_secret_in_the_project_stops_the_build(
    tmp_path: Path,
    site: Path,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
) -> None:
    monkeypatch.setenv("DJANGO_SECRET_KEY", "the secret of this shell")
    (project / "config" / "leak.py").write_text(text)
    repository.commit(project)
    with pytest.raises(PackageError, match=r"config/leak\.py holds a secret"):
        build(archive(tmp_path / "a.zip"), HERE, lambda _: None)


def test_a_package_over_the_budget_names_the_largest(
    tmp_path: Path, site: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site / "big").mkdir()
    (site / "big" / "data.bin").write_bytes(os.urandom(BUDGET + 1))
    with pytest.raises(
        PackageError, match=r"over the budget of 15 MiB\. Largest: big 1\d"
    ):
        build(archive(tmp_path / "a.zip"), HERE, lambda _: None)


def test_without_a_python_of_the_functions_version_nothing_is_built(
    tmp_path: Path, site: Path, project: Path
) -> None:
    other = Target("python3.99", "x86_64")
    zappas = archive(tmp_path / "a.zip")
    before = zappas.read_bytes()
    with pytest.raises(PackageError, match=r"No Python 3\.99 runs here.*--no-bytecode"):
        build(zappas, other, lambda _: None)
    assert zappas.read_bytes() == before
    built = build(zappas, other, lambda _: None, bytecode=False)
    with zipfile.ZipFile(built.path) as found:
        assert not [name for name in found.namelist() if name.endswith(".pyc")]


@pytest.mark.parametrize(
    "name",
    ["config/dump.sql", "users/.views.py.swp", "config/.env", "users/notes.txt"],
)
def test_a_file_that_is_not_of_the_commit_stops_the_build_by_name(
    tmp_path: Path, site: Path, project: Path, name: str
) -> None:
    (project / name).write_text("ghp_" + "a1B2" * 9)
    zappas = archive(tmp_path / "a.zip")
    before = zappas.read_bytes()
    with pytest.raises(PackageError, match=re.escape(name)):
        build(zappas, HERE, lambda _: None)
    assert zappas.read_bytes() == before


def test_a_change_that_is_not_committed_is_said_and_does_not_ship(
    tmp_path: Path, site: Path, project: Path
) -> None:
    clean = build(archive(tmp_path / "1.zip"), HERE, lambda _: None)
    (project / "users" / "__init__.py").write_text("CHANGED = 1\n")
    said: list[str] = []
    dirty = build(archive(tmp_path / "2.zip"), HERE, said.append)
    assert dirty.digest == clean.digest
    assert any("dirty: users/__init__.py" in line for line in said)


def test_dependencies_that_were_touched_are_installed_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def install(lock: str, site: Path, target: Target) -> None:
        site.mkdir()
        (site / "dependency.py").write_text(f"LOCK = {lock!r}\n")
        installs.append(lock)

    installs: list[str] = []
    monkeypatch.setattr(package, "PACKAGES", tmp_path / "packages")
    monkeypatch.setattr(package, "_pip_install", install)
    said: list[str] = []
    here = Path(sys.executable)
    site = package.dependencies(HERE, "lock", here, said.append)
    assert package.dependencies(HERE, "lock", here, said.append) == site
    assert installs == ["lock"]
    (site / "dump.sql").write_text("INSERT")
    assert package.dependencies(HERE, "lock", here, said.append) == site
    assert not (site / "dump.sql").exists()
    assert installs == ["lock", "lock"]
    assert any("is not as it was installed" in line for line in said)


def test_dependencies_without_bytecode_and_of_other_targets_are_kept_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def install(lock: str, site: Path, target: Target) -> None:
        site.mkdir()
        (site / "dependency.py").write_text("VALUE = 1\n")

    monkeypatch.setattr(package, "PACKAGES", tmp_path / "packages")
    monkeypatch.setattr(package, "_pip_install", install)
    here = Path(sys.executable)
    later = Target("python3.99", "x86_64")
    sites = {
        package.dependencies(target, "lock", python, lambda _: None)
        for target, python in ((HERE, here), (HERE, None), (later, None), (ARM, None))
    }
    assert len(sites) == 4
    assert len([s for s in sites if list(s.rglob("*.pyc"))]) == 1
