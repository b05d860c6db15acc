"""The folder that the functions are deployed from, built from a project of three files."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stacks import byte_code, packaging
from stacks.byte_code import compile_folder
from stacks.packaging import PackagingError, Platform, Project, fetch, main, package
from tests.schedules import long


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return _project(tmp_path)


class Installer:
    """Replaces uv: writes what an installation leaves, the builder's paths included."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, lock_file: Path, target: Path, platform: Platform) -> None:
        self.runs += 1
        _write(target / "library" / "__init__.py", f"PLATFORM = {platform!r}\n")
        _write(target / "library" / "__pycache__" / "x.pyc", str(target))
        _write(target / "bin" / "tool", f"#!{target}/python\n")
        for needless in ("_retry.json", "ec2/service-2.json", "s3/1/examples-1.json"):
            _write(target / "botocore" / "data" / needless, "{}")
        _write(target / ".lock", str(target))
        record = f"library/__init__.py,sha256=1,1\nbin/tool,sha256={target.name}{id(self)},1\n"
        record += "botocore/data/_retry.json,,\nbotocore/data/ec2/service-2.json,,\n"
        _write(target / "library-1.dist-info" / "RECORD", record)


def compile_by_name(folder: Path, platform: Platform) -> None:
    """Replaces the compilers: what was compiled for which platform can be told."""
    for module in sorted(folder.rglob("*.py")):
        _write(module.with_name("__pycache__") / f"{module.stem}.{platform}.pyc", "")


class TestPackage:
    def test_the_package_has_dependencies_and_sources(self, project: Project) -> None:
        fetch("aws", project, Installer())
        assert sorted(_content(package("aws", project))) == [
            "botocore/data/_retry.json",
            "dynamodb_streams_cdc/__init__.py",
            "dynamodb_streams_cdc/__pycache__/__init__.aws.pyc",
            "dynamodb_streams_cdc/py.typed",
            "lambdas/audit/__pycache__/handler.aws.pyc",
            "lambdas/audit/handler.py",
            "library-1.dist-info/RECORD",
            "library/__init__.py",
            "library/__pycache__/__init__.aws.pyc",
        ]

    def test_a_folder_of_a_fork_is_packaged_under_any_name(self, project: Project) -> None:
        for name in ("testing", "cli", "examples", "operations", "esm"):
            _write(project.root / "lambdas" / name / "handler.py", "")
        fetch("aws", project, Installer())
        content = _content(package("aws", project))
        assert {f"lambdas/{name}/handler.py" for name in ("testing", "cli", "esm")} <= set(content)

    def test_the_same_inputs_give_the_same_bytes(self, tmp_path: Path) -> None:
        """Or each machine would deploy the functions again."""
        built = []
        for name in ("one", "a-longer-name"):
            project = _project(tmp_path / name)
            fetch("aws", project, Installer())
            built.append(_content(package("aws", project)))
        assert built[0] == built[1]

    def test_lambda_can_read_the_files_of_a_strict_builder(self, project: Project) -> None:
        """Lambda's user is not the owner of the files: it has the permissions of others."""

        def install(lock_file: Path, target: Path, platform: Platform) -> None:
            Installer()(lock_file, target, platform)
            (target / "library" / "tool.so").touch(0o700)

        before = os.umask(0o077)
        try:
            dependencies = fetch("aws", project, install)
            folder = package("aws", project)
        finally:
            os.umask(before)
        for built in (dependencies, folder):
            modes = {path: path.stat().st_mode & 0o777 for path in (built, *built.rglob("*"))}
            programs = {path for path in modes if path.is_dir() or path.suffix == ".so"}
            assert {modes.pop(path) for path in programs} == {0o755}
            assert set(modes.values()) == {0o644}

    def test_other_modes_build_everything_again(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, folder = fetch("host", project, Installer()), package("host", project)
        before = folder.stat().st_ino
        monkeypatch.setattr(packaging, "MODES", "as umask has it")
        assert fetch("host", project, Installer()) != first
        assert package("host", project).stat().st_ino != before

    def test_nothing_is_built_when_nothing_changed(self, project: Project) -> None:
        fetch("host", project, Installer())
        folder = package("host", project)
        before = folder.stat().st_ino
        assert package("host", project).stat().st_ino == before

    def test_changed_sources_need_no_installation(self, project: Project) -> None:
        installer = Installer()
        fetch("host", project, installer)
        package("host", project)
        handler = project.root / "lambdas" / "audit" / "handler.py"
        handler.rename(handler.with_name("renamed.py"))
        _write(project.root / "lambdas" / "added.py", "ADDED = True\n")
        content = _content(package("host", project))
        assert "lambdas/audit/renamed.py" in content
        assert "lambdas/added.py" in content
        assert "lambdas/audit/handler.py" not in content
        assert installer.runs == 1

    def test_a_killed_build_is_built_again(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fetch("host", project, Installer())
        complete = _content(package("host", project))
        added = project.root / "lambdas" / "added.py"
        _write(added, "ADDED = True\n")

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr("pathlib.Path.write_text", killed)
            with pytest.raises(KeyboardInterrupt):
                package("host", project)
        added.unlink()
        assert _content(package("host", project)) == complete

    def test_a_copy_that_fails_leaves_the_old_folder_whole(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fetch("host", project, Installer())
        folder = package("host", project)
        complete = _content(folder)
        _write(project.root / "lambdas" / "added.py", "ADDED = True\n")

        def disk_is_full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("shutil.copyfile", disk_is_full)
        with pytest.raises(OSError, match="No space"):
            package("host", project)
        assert _content(folder) == complete
        assert sorted(p.name for p in folder.parent.iterdir()) == ["host", "host.stamp"]

    def test_without_dependencies_it_says_what_to_run(self, project: Project) -> None:
        with pytest.raises(PackagingError, match=r"not been fetched for aws: run make setup\.$"):
            package("aws", project)


class TestFetch:
    def test_dependencies_are_installed_once(self, project: Project) -> None:
        installer = Installer()
        first = fetch("aws", project, installer)
        assert fetch("aws", project, installer) == first
        assert fetch("host", project, installer) != first
        assert installer.runs == 2
        _write(project.lock_file, "library==2\n")
        assert fetch("aws", project, installer) != first
        assert installer.runs == 3

    def test_records_list_the_files_that_are_left(self, project: Project) -> None:
        folder = fetch("aws", project, Installer())
        record = (folder / "library-1.dist-info" / "RECORD").read_text()
        assert record == "botocore/data/_retry.json,,\nlibrary/__init__.py,sha256=1,1\n"

    def test_a_changed_trim_rule_installs_again(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = fetch("aws", project, Installer())
        monkeypatch.setattr(packaging, "DROPPED", ("library/__init__.py",))
        second = fetch("aws", project, Installer())
        assert second != first
        assert not (second / "library" / "__init__.py").exists()

    def test_an_installation_that_fails_leaves_nothing_behind(self, project: Project) -> None:
        def broken(lock_file: Path, target: Path, platform: Platform) -> None:
            _write(target / "half.py", "")
            message = "no network"
            raise PackagingError(message)

        with pytest.raises(PackagingError, match="no network"):
            fetch("aws", project, broken)
        assert list((project.root / "build" / "dependencies").iterdir()) == []

    def test_an_unknown_platform_is_named(self) -> None:
        with pytest.raises(SystemExit, match="Unknown platform 'arm': choose from aws, host"):
            main(["arm"])


class TestByteCode:
    SOURCE = "def number():\n    return 7\n"

    def test_it_runs_without_its_source_being_looked_at(self, tmp_path: Path) -> None:
        """The archive that is uploaded forgets dates: byte code with a date would be dropped."""
        _write(tmp_path / "one" / "module.py", self.SOURCE)
        compile_folder(tmp_path, "host")
        os.utime(tmp_path / "one" / "module.py", (0, 0))
        program = "import one.module; print(one.module.number(), one.module.__cached__)"
        done = _python("-v", "-c", program, cwd=tmp_path)
        compiled = "module." + str(sys.implementation.cache_tag)
        assert done.stdout.startswith("7 ")
        assert f"code object from '{tmp_path}/one/__pycache__/{compiled}.pyc'" in done.stderr

    @long
    def test_byte_code_is_for_the_functions_python(self, tmp_path: Path) -> None:
        made = []
        for place in ("here", "a-longer-name"):
            folder = tmp_path / place
            _write(folder / "one" / "module.py", self.SOURCE)
            compile_folder(folder, "aws")
            made.append(folder / "one" / "__pycache__" / "module.cpython-313.pyc")
        first, second = (path.read_bytes() for path in made)
        assert first == second
        assert b"/var/task/one/module.py" in first
        unchecked = int.from_bytes(first[4:8], "little")
        assert unchecked == 0b01

    @long
    def test_another_python_than_the_functions_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program = byte_code._PROGRAM.replace(byte_code.PYTHON, "3.12")
        monkeypatch.setattr(byte_code, "_PROGRAM", program)
        with pytest.raises(byte_code.ByteCodeError, match=r"Pyodide has Python 3\.13"):
            compile_folder(tmp_path, "aws")


def _python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=True
    )


@pytest.mark.parametrize("domain", ["domain", "example_domain"])
def test_sample_stories_of_a_domain_are_not_packaged(tmp_path: Path, domain: str) -> None:
    project = _project(tmp_path)
    fetch("host", project, Installer())
    for name in (
        *(f"{domain}/__init__.py", f"{domain}/stories.py", f"{domain}/stories/deep/a.py"),
        *(f"{domain}/deep/stories.py", "audit/stories.py"),
    ):
        _write(tmp_path / "lambdas" / name, "")

    packaged = {each for each in _content(package("host", project)) if each.endswith(".py")}

    assert {each for each in packaged if "stories" in each} == {
        f"lambdas/{domain}/deep/stories.py",
        "lambdas/audit/stories.py",
    }
    assert f"lambdas/{domain}/__init__.py" in packaged


def _project(root: Path) -> Project:
    _write(root / "lambdas" / "requirements.txt", "library==1\n")
    _write(root / "lambdas" / "audit" / "handler.py", "def handler(): ...\n")
    _write(root / "lambdas" / "audit" / "__pycache__" / "handler.pyc", str(root))
    library = root / "src" / "dynamodb_streams_cdc"
    for name in ("__init__.py", "py.typed", "cli/main.py", "examples/basic.py", "testing/lab.py"):
        _write(library / name, "")
    return Project(root=root, compile=compile_by_name)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _content(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
