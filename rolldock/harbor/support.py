"""Which features of the task format Rolldock cannot honour: refused by name, never ignored."""

from collections.abc import Collection

from .config import TaskConfig


def unsupported(config: TaskConfig, paths: Collection[str]) -> str | None:
    """The first feature that a task uses and Rolldock does not have, or None.

    `paths` are those of the task directory's files.
    """
    environment = config.environment
    used = {
        "[[steps]] (multi-step tasks)": config.steps is not None,
        "a separate verifier environment ([verifier.environment], environment_mode)": (
            config.verifier.is_separate
        ),
        "[[verifier.collect]]": bool(config.verifier.collect),
        "environment/docker-compose.yaml": bool(
            {"environment/docker-compose.yaml", "environment/docker-compose.yml"} & set(paths)
        ),
        'environment.os = "windows"': environment.os == "windows",
        "environment.gpus": bool(environment.gpus) or bool(environment.gpu_types),
        "environment.tpu": environment.tpu is not None,
        "environment.mcp_servers": bool(environment.mcp_servers),
        "environment.skills_dir": environment.skills_dir is not None,
        "artifacts of a compose service": any(
            item.service not in (None, "main") for item in config.artifacts
        ),
        "exclude in artifacts": any(item.exclude for item in config.artifacts),
        "a network_mode of the agent's or verifier's own": any(
            mode not in (None, environment.network_mode)
            for mode in (config.agent.network_mode, config.verifier.network_mode)
        ),
        "trajectory.json (a prior trajectory)": "trajectory.json" in paths,
    }
    return next((name for name, is_used in used.items() if is_used), None)
