"""The sample of a configuration that ClusterShell's packages install, with hosts that there are not."""

import configparser
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template

#: The groups of the sample's local.cfg.
_SAMPLE_GROUPS = frozenset(
    {
        "adm: example0",
        "oss: example4 example5",
        "mds: example6",
        "io: example[4-6]",
        "compute: example[32-159]",
        "gpu: example[156-159]",
        "all: example[4-6,32-159]",
    }
)
#: The folders that the sample's groups.conf names.
_SAMPLE_FOLDERS = re.compile(r"(/etc/clustershell|\$CFGDIR)/groups(\.conf)?\.d")
#: Files that a command may name, as far as that can be told.
_PATH = re.compile(r"[^\s;&|='\"()]+")


def is_sample(path: Path) -> bool:
    """Whether a folder has nothing but the sample that ClusterShell installs."""
    folder = path.parent
    if not _has_its_groups(folder / "groups.d" / "local.cfg") or (folder / "groups").exists():
        return False
    if any((*folder.glob("groups.conf.d/*.conf"), *folder.glob("groups.d/*.yaml"))):
        return False
    config = configparser.ConfigParser(interpolation=None)
    try:
        config.read(path)
    except (configparser.Error, UnicodeDecodeError):
        return False
    main = dict(config["Main"]) if "Main" in config else {}
    if set(config.sections()) != {"Main", "local"} or main.pop("default", "") != "local":
        return False
    return all(_SAMPLE_FOLDERS.fullmatch(word) for folders in main.values() for word in folders.split())


def _has_its_groups(path: Path) -> bool:
    try:
        lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError):
        return False
    return {line for line in lines if line and not line.startswith("#")} == _SAMPLE_GROUPS


def reads_sample(name: str, commands: Mapping[str, str], folder: Path) -> bool:
    """Whether a source has the groups of the sample: it reads its local.cfg, and there is no older file."""
    text = Template(" ".join(commands.values())).safe_substitute(CFGDIR=folder)
    paths = {folder / path for path in _PATH.findall(text) if "groups" in path or "local.cfg" in path}
    if any(path.name == "groups" and path.is_file() for path in paths):
        return False
    files = [path for path in paths if path.name == "local.cfg"]
    return any(_has_its_groups(path) or (name == "local" and not path.exists()) for path in files)
