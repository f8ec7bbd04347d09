"""What must hold of docker/ without building it; the last tests look at images when an engine has them."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import hcl2
import pytest

from vault_asc import __version__
from vault_asc.config import load
from vault_asc.lab import serve

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"


def text(name: str) -> str:
    return (DOCKER / name).read_text(encoding="utf-8")


def stages() -> dict[str, list[str]]:
    """The instructions of each stage of the Dockerfile, continued lines joined, in order."""
    found: dict[str, list[str]] = {"": []}
    lines = "\n".join(line for line in text("Dockerfile").splitlines() if not line.startswith("#"))
    for line in filter(None, map(str.strip, lines.replace("\\\n", " ").splitlines())):
        if line.startswith("FROM "):
            found[line.split()[-1]] = []
        found[list(found)[-1]].append(line)
    return found


def services() -> dict[str, str]:
    """The text of each service of the compose file."""
    block = text("compose.yaml").split("\nservices:\n")[1].split("\nvolumes:\n")[0]
    parts = re.split(r"^  ([a-z-]+):\n", block, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


# -- Dockerfile -------------------------------------------------------------------------------------------------------


def test_every_installation_is_locked_by_hashes_or_of_our_own_source() -> None:
    everything = " && ".join(line for lines in stages().values() for line in lines)
    installs = re.findall(r"pip (?:--python \S+ )?(install|wheel) ([^&]*)", everything)
    assert len(installs) == everything.count("bin/pip ") == 5
    for verb, words in installs:
        own = re.search(r"--no-deps.* (dist \.|dist/\*\.whl)$", words.strip())
        assert "--require-hashes -r requirements/" in words or own, (verb, words)
        assert "--no-cache-dir" in words


@pytest.mark.parametrize("stage", ["lab", "vault-asc"])
def test_image_runs_as_a_number_that_is_not_root(stage: str) -> None:
    users = [line.split()[1] for line in stages()[stage] if line.startswith("USER ")]
    assert users == ["10001:10001"]
    assert stages()[stage][-1].startswith(("USER ", "CMD "))


@pytest.mark.parametrize("stage", ["runtime", "lab", "vault-asc"])
def test_final_stages_take_the_installed_package_from_the_build_and_nothing_else(stage: str) -> None:
    assert stages()[stage][0].split()[1] in {"${BASE}", "runtime"}
    assert not [line for line in stages()[stage] if "pip " in line or "apt" in line]
    copied = [line for line in stages()[stage] if line.startswith("COPY ")]
    assert all(re.fullmatch(r"COPY --from=build(-lab)? /opt/vault-asc /opt/vault-asc", line) for line in copied)


def test_image_by_default_is_the_small_one() -> None:
    assert list(stages())[-1] == "vault-asc"


def test_base_is_pinned_to_a_minor_version() -> None:
    assert re.fullmatch(r"ARG BASE=python:3\.\d+-slim-[a-z]+", stages()[""][0])
    assert f"{{VAULT_ASC_BASE:-{stages()[''][0].removeprefix('ARG BASE=')}}}" in text("compose.yaml")


def test_labels_entry_point_and_stop_signal() -> None:
    lines = stages()["runtime"]
    assert 'ENTRYPOINT ["vault-asc"]' in lines
    assert "STOPSIGNAL SIGINT" in lines
    assert f"ARG VERSION={__version__}" in lines
    assert {"title", "description", "licenses", "version", "revision"} == set(
        re.findall(r"org\.opencontainers\.image\.([a-z]+)=", " ".join(lines))
    )


def test_build_context_holds_what_is_copied_and_nothing_else() -> None:
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in ignore if line and not line.startswith("#")]
    assert rules[0] == "*"
    copies = [line.split()[1:-1] for part in stages().values() for line in part if re.match(r"COPY (?!--from)", line)]
    copied = {word.split("/")[0] for words in copies for word in words}
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied
    assert {"**/*.p8", "**/*.pem", "**/*.key", "**/__pycache__"} <= set(rules)


@pytest.mark.parametrize("name", ["run", "lab", "build"])
def test_lock_agrees_with_the_one_that_the_tests_run_with(name: str) -> None:
    lock = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    dev = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8")
    pins = re.findall(r"^[a-z0-9][^ \n]*", lock, re.MULTILINE)
    assert pins
    assert set(pins) <= set(re.findall(r"^[a-z0-9][^ \n]*", dev, re.MULTILINE))
    assert len(re.findall(r"^[a-z0-9]\S+==\S+ \\\n    --hash=sha256:", lock, re.MULTILINE)) == len(pins)
    assert "://" not in lock


# -- compose ----------------------------------------------------------------------------------------------------------


def test_every_service_is_hardened_alike() -> None:
    common = text("compose.yaml").split("x-common:")[1].split("\nservices:")[0]
    for line in ("read_only: true", "cap_drop: [ALL]", 'security_opt: ["no-new-privileges:true"]', "target: lab"):
        assert line in common
    for name, block in services().items():
        assert "    <<: *common\n" in block, name
        assert not re.search(r"privileged:|cap_add:|ports:|user:|read_only: false", block), name


def test_all_services_share_one_loopback_and_reach_nothing_else() -> None:
    modes = {name: re.findall(r"^    network_mode: (\S+)$", block, re.MULTILINE) for name, block in services().items()}
    assert modes.pop("openbao") == ["none"]
    assert set(modes) == {"simulators", "setup", "agent", "vault-asc"}
    assert set(map(tuple, modes.values())) == {("service:openbao",)}


def test_every_volume_is_in_memory_and_private() -> None:
    volumes = text("compose.yaml").split("\nvolumes:\n")[1]
    names = re.findall(r"^  ([a-z]+):$", volumes, re.MULTILINE)
    assert names
    assert volumes.count("driver_opts: ") == len(names) == volumes.count("*memory") + volumes.count("&memory")
    assert '{type: tmpfs, device: tmpfs, o: "size=1m,uid=10001,gid=10001,mode=0700"}' in volumes


def test_no_secret_is_in_environment_or_arguments() -> None:
    given = r"(?i)(token|password|secret|service_key)\w*[=:] *\S"
    assert re.search(given, "BAO_TOKEN: x")
    for name in ("compose.yaml", "Dockerfile"):
        assert not re.search(given, text(name)), name
    commands = [line.partition("#")[0] for line in text("setup.sh").splitlines() if not line.startswith("#")]
    assert not [line for line in commands if re.search(r"export \w*(TOKEN|KEY|SECRET)", line)]
    # A value that a program reads out of a file may be part of an argument when it is an address, and only then.
    assert re.findall(r"\$\((.*?)\)", "\n".join(commands)) == [
        'cat "$HANDOVER/nexla-url"',
        'cat "$HANDOVER/apple-url"',
    ]


def test_setup_is_a_shell_script() -> None:
    subprocess.run(["/bin/sh", "-n", str(DOCKER / "setup.sh")], check=True)


def test_setup_and_configuration_agree_with_the_simulators(tmp_path: Path) -> None:
    setup = text("setup.sh")
    assert f"--issuer-id {serve.ISSUER_ID}" in setup
    assert f'"$HANDOVER/{serve.READY_FILE}"' in setup
    assert f'@"$HANDOVER/{serve.SERVICE_KEY_FILE}"' in setup
    assert f"/run/handover/{serve.READY_FILE}" in services()["simulators"]
    file = tmp_path / "vault-asc.toml"
    assert f'"$HANDOVER/{serve.APPLE_FILE}"' in setup
    addresses = {"NEXLA_URL": "http://127.0.0.1:1/nexla-api", "APPLE_URL": "http://127.0.0.1:2"}
    filled = text("vault-asc.toml")
    for placeholder, address in addresses.items():
        assert f"s|{placeholder}|" in setup
        filled = filled.replace(placeholder, address)
    file.write_text(filled, encoding="utf-8")
    config = load(file, {})
    assert [config.nexla["default"].api_url, config.appstoreconnect.api_url] == [*addresses.values()]
    assert [target.credential_id for target in config.targets] == [serve.CREDENTIAL_ID]
    assert str(config.agent.dir) == "/run/vault-asc"


def test_openbao_listens_on_the_loopback_alone() -> None:
    server: dict[str, Any] = hcl2.loads(text("openbao.hcl"))
    assert "127.0.0.1:8200" in json.dumps(server["listener"])
    assert set(re.findall(r"\d+\.\d+\.\d+\.\d+", text("openbao.hcl"))) == {"127.0.0.1"}


# -- with an engine ---------------------------------------------------------------------------------------------------


def docker(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *words], capture_output=True, text=True, timeout=60, check=False)


def image(name: str) -> str:
    if shutil.which("docker") is None or docker("version").returncode != 0:
        pytest.skip("no Docker engine answers")
    if docker("image", "inspect", name).returncode != 0:
        pytest.skip(f"image {name} was not built; see docs/docker.md")
    return name


HARDENED = ("--rm", "--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")


def test_image_runs_without_network_rights_or_a_writable_disk() -> None:
    done = docker("run", *HARDENED, image("vault-asc"), "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"vault-asc {__version__}\n", "")


def test_image_has_neither_pip_nor_the_right_to_change_itself() -> None:
    look = "id -u; python -m pip --version; touch /opt/vault-asc/x; ls /opt"
    done = docker("run", "--rm", "--entrypoint=sh", image("vault-asc"), "-c", look)
    assert done.stdout.split() == ["10001", "vault-asc"]
    assert "No module named pip" in done.stderr
    assert "Permission denied" in done.stderr


def test_lab_image_has_openbao_itself() -> None:
    done = docker("run", *HARDENED, "--entrypoint=bao", image("vault-asc:lab"), "version")
    assert done.stdout.startswith("OpenBao v")


def test_compose_file_is_valid() -> None:
    if shutil.which("docker") is None or docker("compose", "version").returncode != 0:
        pytest.skip("docker compose is not installed")
    done = docker("compose", "-f", str(DOCKER / "compose.yaml"), "config", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
