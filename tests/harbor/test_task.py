"""Reading task directories: what is accepted, and the one line that says what is wrong."""

import os
from pathlib import Path
from typing import Any

import pytest

from rolldock.errors import StageError, UsageError
from rolldock.harbor.bundle import load_task, pack
from rolldock.harbor.task import read_task

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples" / "tasks").iterdir())


@pytest.mark.parametrize("directory", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_tasks(directory: Path) -> None:
    """Each needs no network and no image, and has a solution."""
    task = read_task(directory)
    assert task.name == directory.name
    assert task.config.environment.network_mode == "no-network"
    assert task.docker_image is None
    assert not task.needs_image_build
    assert task.has_solution


def test_a_task_is_the_same_from_its_bundle(write_task: Any) -> None:
    """What a worker loads equals what the command line read, but for the directory's name."""
    directory = write_task({"environment/data.csv": "1,2\n"})
    task = load_task(pack(directory), "some-task")
    assert task == read_task(directory)
    assert task.uploads_environment


def test_defaults(write_task: Any) -> None:
    """An empty task.toml is Harbor's defaults."""
    config = read_task(write_task()).config
    assert config.verifier.timeout_sec == 600
    assert config.agent.timeout_sec is None
    assert config.environment.network_mode == "public"
    assert config.environment.healthcheck is None


def test_older_spellings_are_understood(write_task: Any) -> None:
    """`version`, `memory`, `storage` and `allow_internet` of earlier schema versions."""
    toml = """
version = "1.0"
unknown_key = 1
[task]
name = "acme/some-task"
[environment]
memory = "2G"
storage = "512M"
allow_internet = false
os = "Linux"
cpus = 2
"""
    task = read_task(write_task({"task.toml": toml}))
    assert task.name == "acme/some-task"
    assert task.config.schema_version == "1.0"
    environment = task.config.environment
    assert (environment.memory_mb, environment.storage_mb) == (2048, 512)
    assert environment.network_mode == "no-network"
    assert environment.os == "linux"


def test_network_mode_wins_over_allow_internet(write_task: Any) -> None:
    """The older key is ignored beside the newer one, and so is a size that is no string."""
    toml = '[environment]\nallow_internet = true\nnetwork_mode = "no-network"\nmemory = 2048\n'
    environment = read_task(write_task({"task.toml": toml})).config.environment
    assert environment.network_mode == "no-network"
    assert environment.memory_mb is None


def test_images(write_task: Any) -> None:
    """A Dockerfile without an image needs a build; an image wins over it."""
    build = read_task(write_task({"environment/Dockerfile": "FROM scratch\n"}))
    assert build.needs_image_build
    assert not build.uploads_environment
    named = read_task(write_task({"task.toml": '[environment]\ndocker_image = "x:1"\n'}))
    assert named.docker_image == "x:1"
    assert not named.needs_image_build


def test_leading_canaries_are_removed(write_task: Any) -> None:
    """Only at the beginning, with the blank lines that follow them."""
    text = "<!-- task canary GUID -->\n# CANARY 1\n\n\nDo it.\n# canary stays\n"
    task = read_task(write_task({"instruction.md": text}))
    assert task.instruction == "Do it.\n# canary stays\n"


def test_env_templates_take_only_offered_variables(write_task: Any) -> None:
    """Another variable makes the task invalid for this worker."""
    toml = '[verifier.env]\nA = "${KEY}"\n[solution.env]\nB = "b"\n[agent]\nuser = 1000\n'
    task = read_task(write_task({"task.toml": toml}))
    assert task.verifier_env({"KEY": "k"}) == {"A": "k"}
    assert task.solution_env({}) == {"B": "b"}
    assert task.environment_env({}) == {}
    assert task.agent_user == "1000"
    with pytest.raises(StageError, match=r"verifier\.env: A = .*KEY"):
        task.verifier_env({})


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"task.toml": None}, r"task\.toml: no such file"),
        ({"task.toml": "a = 1\nb = = 2\n"}, r"task\.toml, line 2: not valid TOML"),
        ({"task.toml": "a = [1,\n2\n"}, r"task\.toml, line 2: not valid TOML"),
        ({"task.toml": '[verifier]\ntimeout_sec = "soon"'}, r"verifier\.timeout_sec = 'soon': "),
        ({"task.toml": "[environment]\ncpus = 1.5"}, r"environment\.cpus = 1\.5: "),
        ({"task.toml": '[environment]\nmemory = "2GB"'}, r"environment: memory = '2GB' is not"),
        ({"task.toml": '[environment]\nmemory = "2G"\nmemory_mb = 1'}, "disagree"),
        ({"task.toml": '[environment]\nallowed_hosts = ["a.b"]'}, "allowlist"),
        ({"task.toml": '[task]\nname = "x"'}, r"task\.name = 'x': "),
        ({"task.toml": "[task]\n"}, r"task\.name: Field required"),
        ({"instruction.md": None}, r"instruction\.md: no such file"),
        ({"instruction.md": " \n"}, r"instruction\.md: empty"),
        ({"tests/test.sh": None}, r"tests/test\.sh: no such file"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    write_task: Any, files: dict[str, str | None], message: str
) -> None:
    """The file, and the line or the field with its value."""
    with pytest.raises(UsageError, match=message) as caught:
        read_task(write_task(files))
    assert "\n" not in str(caught.value)
    assert "some-task" in str(caught.value)


@pytest.mark.parametrize(
    ("toml", "feature"),
    [
        ('[[steps]]\nname = "a"', "steps"),
        ('[verifier]\nenvironment_mode = "separate"', "separate verifier"),
        ("[verifier.environment]\ncpus = 1", "separate verifier"),
        ('[[verifier.collect]]\ncommand = "x"', "collect"),
        ('[environment]\nos = "Windows"', "windows"),
        ("[environment]\ngpus = 1", "gpus"),
        ('[environment.tpu]\ntype = "v5"', "tpu"),
        ('[[environment.mcp_servers]]\nname = "a"', "mcp_servers"),
        ('[environment]\nskills_dir = "/skills"', "skills_dir"),
        ('[verifier]\nnetwork_mode = "no-network"', "network_mode"),
        ('artifacts = [{source = "/data", exclude = ["*.tmp"]}]', "exclude"),
        ('[[artifacts]]\nsource = "/a"\nservice = "db"', "compose service"),
    ],
)
def test_unsupported_features_are_refused_by_name(write_task: Any, toml: str, feature: str) -> None:
    """What cannot be honoured is never ignored."""
    with pytest.raises(UsageError, match=f"{feature}.* does not support"):
        read_task(write_task({"task.toml": toml}))


@pytest.mark.parametrize(
    ("path", "feature"),
    [
        ("environment/docker-compose.yaml", "docker-compose"),
        ("trajectory.json", "prior trajectory"),
    ],
)
def test_unsupported_files_are_refused_by_name(write_task: Any, path: str, feature: str) -> None:
    """The same for features that are files."""
    with pytest.raises(UsageError, match=feature):
        read_task(write_task({path: "{}"}))


def test_healthcheck_and_artifacts_are_supported(write_task: Any) -> None:
    """Both in Harbor's spelling, an artifact also as a plain path."""
    toml = """
artifacts = ["/app/out.txt", {source = "/data", destination = "d"}]
[environment.healthcheck]
command = "true"
retries = 5
"""
    config = read_task(write_task({"task.toml": toml})).config
    assert [item.source for item in config.artifacts] == ["/app/out.txt", "/data"]
    assert config.environment.healthcheck is not None
    assert config.environment.healthcheck.retries == 5
    assert config.environment.healthcheck.start_interval_sec == 5


def test_no_such_directory(tmp_path: Path) -> None:
    """The path is named."""
    with pytest.raises(UsageError, match=r"no such task directory: .*nowhere"):
        read_task(tmp_path / "nowhere")


def test_instruction_must_be_utf8(write_task: Any) -> None:
    """The line of the first bad byte is named."""
    directory = write_task()
    (directory / "instruction.md").write_bytes(b"fine\nbad \xff\n")
    with pytest.raises(UsageError, match=r"instruction\.md, line 2: not UTF-8"):
        read_task(directory)


def test_links_out_of_the_directory_are_refused(write_task: Any, tmp_path: Path) -> None:
    """Whatever they lead to."""
    directory = write_task()
    (tmp_path / "secret").write_text("s")
    (directory / "tests" / "data").symlink_to(tmp_path / "secret")
    with pytest.raises(UsageError, match=r"tests/data: symbolic link to .*outside"):
        read_task(directory)


def test_special_files_are_refused(write_task: Any) -> None:
    """A pipe would block whoever reads it."""
    directory = write_task()
    os.mkfifo(directory / "pipe")
    with pytest.raises(UsageError, match="pipe: neither a file nor a directory"):
        read_task(directory)
