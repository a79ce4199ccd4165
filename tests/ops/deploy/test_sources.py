"""A package takes the files of the commit, or of the manifest, and no other."""

import re
import tarfile
from pathlib import Path

import pytest

from ops.deploy import sources
from ops.deploy.sources import BYTECODE, LOCK, MANIFEST, SHIPPED, PackageError
from ops.paths import PROJECT
from tests import repository
from tests.repository import FILES, git, write


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return repository.make(tmp_path / "project")


def unpacked(project: Path, target: Path) -> Path:
    """As somebody has it who downloaded an archive of the commit."""
    names = git(project, "ls-files").splitlines()
    write(project, {MANIFEST: "".join(f"{name}\n" for name in names)})
    repository.commit(project)
    target.mkdir()
    packed = target.with_suffix(".tar")
    git(project, "archive", "--output", str(packed), "HEAD")
    with tarfile.open(packed) as archive:
        archive.extractall(target, filter="data")
    return target


def test_the_files_and_their_content_are_those_of_the_commit(project: Path) -> None:
    commit = git(project, "rev-parse", "HEAD")
    write(project, {"users/__init__.py": "CHANGED = 1\n"})
    found = sources.read(project)
    assert found.origin == f"commit {commit[:12]}"
    assert found.files == {name: text.encode() for name, text in FILES.items()}


def test_a_clean_tree_needs_no_remark(project: Path) -> None:
    assert sources.read(project).remark == ""


@pytest.mark.parametrize("staged", [False, True])
def test_a_dirty_tree_is_said_by_name(project: Path, staged: bool) -> None:
    write(project, {"users/__init__.py": "CHANGED = 1\n"})
    (project / "config" / "__init__.py").unlink()
    if staged:
        git(project, "add", "--all")
    remark = sources.read(project).remark
    assert "users/__init__.py" in remark
    assert "config/__init__.py" in remark
    assert "without these changes" in remark


@pytest.mark.parametrize(
    "name",
    [
        "config/dump.sql", "users/.views.py.swp", "config/.env", "users/a/b/token",
        "users/__pycache__/notes.txt", "config/cache.pyc", "users/naïve name.py",
    ],
)  # fmt: skip
@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("staged", [False, True])
def test_what_is_not_of_the_commit_is_refused_by_name(
    project: Path, name: str, ignored: bool, staged: bool
) -> None:
    if ignored:
        (project / ".git" / "info" / "exclude").write_text("*\n")
    write(project, {name: "something"})
    if staged:
        git(project, "add", "--force", name)
    with pytest.raises(PackageError, match=re.escape(name)):
        sources.read(project)


def test_a_link_is_refused_whether_it_is_committed_or_not(project: Path) -> None:
    outside = project.parent / "outside"
    write(outside, {"secret.txt": "secret"})
    (project / "config" / "linked").symlink_to(outside)
    with pytest.raises(PackageError, match="config/linked"):
        sources.read(project)
    repository.commit(project)
    with pytest.raises(PackageError, match="No regular files: config/linked"):
        sources.read(project)


def test_bytecode_beside_the_files_is_passed_over(project: Path) -> None:
    write(project, {"users/__pycache__/views.cpython-311.pyc": "bytecode"})
    assert set(sources.read(project).files) == set(FILES)


def test_a_folder_inside_of_a_larger_repository_is_its_own_project(
    tmp_path: Path,
) -> None:
    write(tmp_path / "apps" / "users-api", FILES)
    write(tmp_path, {"config/other.py": "OTHER = 1\n"})
    git(tmp_path, "init", "--quiet")
    repository.commit(tmp_path)
    assert set(sources.read(tmp_path / "apps" / "users-api").files) == set(FILES)


def test_another_repository_of_the_shell_does_not_answer(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a hook, whose variables name the repository that it runs for."""
    other = repository.make(tmp_path / "other")
    write(other, {"users/other.py": ""})
    repository.commit(other)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert set(sources.read(project).files) == set(FILES)


def test_without_a_commit_it_is_said_what_to_do(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    git(tmp_path, "init", "--quiet")
    with pytest.raises(PackageError, match="Commit first"):
        sources.read(tmp_path)


def test_without_the_program_it_is_said_what_to_do(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PackageError, match="git is not installed"):
        sources.read(project)


def test_an_archive_is_packed_by_its_manifest(project: Path, tmp_path: Path) -> None:
    archive = unpacked(project, tmp_path / "archive")
    found = sources.read(archive)
    assert found.origin == MANIFEST
    assert found.files == {name: text.encode() for name, text in FILES.items()}
    assert "no git here" in found.remark


def test_an_archive_inside_of_a_strange_repository_is_packed_by_its_manifest(
    project: Path, tmp_path: Path
) -> None:
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "strange")
    archive = unpacked(project, tmp_path / "archive")
    assert sources.read(archive).origin == MANIFEST


@pytest.mark.parametrize("place", ["archive", "."])
def test_a_folder_that_only_has_gits_name_is_no_repository(
    project: Path, tmp_path: Path, place: str
) -> None:
    archive = unpacked(project, tmp_path / "archive")
    (tmp_path / place / ".git").mkdir()
    assert sources.read(archive).origin == MANIFEST


def test_a_worktree_without_its_repository_is_no_archive(
    project: Path, tmp_path: Path
) -> None:
    archive = unpacked(project, tmp_path / "archive")
    (archive / ".git").write_text("gitdir: /nowhere\n")
    with pytest.raises(PackageError, match="not a git repository: /nowhere"):
        sources.read(archive)


def test_a_manifest_that_is_no_text_is_named(project: Path, tmp_path: Path) -> None:
    archive = unpacked(project, tmp_path / "archive")
    (archive / MANIFEST).write_bytes(b"\xff")
    with pytest.raises(PackageError, match=f"{MANIFEST} cannot be read"):
        sources.read(archive)


def test_a_manifest_may_have_windows_line_endings(
    project: Path, tmp_path: Path
) -> None:
    archive = unpacked(project, tmp_path / "archive")
    manifest = archive / MANIFEST
    manifest.write_bytes(manifest.read_bytes().replace(b"\n", b"\r\n"))
    assert sources.read(archive).origin == MANIFEST


@pytest.mark.parametrize("way", ["a linked folder", "a path that leads out"])
def test_no_file_of_a_manifest_lies_elsewhere(
    project: Path, tmp_path: Path, way: str
) -> None:
    archive = unpacked(project, tmp_path / "archive")
    if way == "a linked folder":
        (archive / "users").rename(tmp_path / "users")
        (archive / "users").symlink_to(tmp_path / "users")
    else:
        write(tmp_path, {"secret.py": "secret"})
        with (archive / MANIFEST).open("a") as manifest:
            manifest.write("config/../../secret.py\n")
    with pytest.raises(PackageError, match=r"no regular files: .*(users/|secret)"):
        sources.read(archive)


@pytest.mark.parametrize("name", ["config/dump.sql", "users/.views.py.swp"])
def test_what_the_manifest_does_not_name_is_refused_by_name(
    project: Path, tmp_path: Path, name: str
) -> None:
    archive = unpacked(project, tmp_path / "archive")
    write(archive, {name: "something"})
    with pytest.raises(
        PackageError, match=f"not in {MANIFEST}: {name}. .* Move them out"
    ):
        sources.read(archive)


@pytest.mark.parametrize("instead", ["nothing", "a link"])
def test_a_file_of_the_manifest_that_is_missing_is_named(
    project: Path, tmp_path: Path, instead: str
) -> None:
    archive = unpacked(project, tmp_path / "archive")
    (archive / "users" / "__init__.py").unlink()
    if instead == "a link":
        (archive / "users" / "__init__.py").symlink_to("/etc/passwd")
    with pytest.raises(PackageError, match=r"missing, .*: users/__init__\.py"):
        sources.read(archive)


def test_neither_git_nor_a_manifest_is_said(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    with pytest.raises(PackageError, match="Neither git nor"):
        sources.read(tmp_path)


def test_the_projects_own_manifest_is_current() -> None:
    """`make manifest` writes it again; what is only new here has to be added to git first."""
    named = (PROJECT / MANIFEST).read_text().splitlines()
    present = [
        path.relative_to(PROJECT).as_posix()
        for folder in SHIPPED
        for path in (PROJECT / folder).rglob("*")
        if path.is_file()
    ]
    assert named == sorted(
        [name for name in present if not BYTECODE.fullmatch(name)] + [LOCK]
    )


def test_very_many_names_are_cut(project: Path) -> None:
    write(project, {f"users/{number:03}.txt": "" for number in range(50)})
    with pytest.raises(PackageError, match=r"users/019\.txt and 30 more"):
        sources.read(project)
