"""What this package relies on in paramiko, Fabric and Invoke beyond what these promise.

A release that changes it fails here first. If a digest differs, read the change, repeat it in what is written
again here if it matters, and then add the digest: those of all supported versions are accepted.
"""

import ast
import hashlib
import importlib
import inspect
import pkgutil
import re
import threading
from functools import cache
from pathlib import Path

import fabric
import pytest

import paramgmt_tasks.ssh
from paramgmt_tasks.ssh import paramiko_internals
from paramgmt_tasks.ssh.paramiko_internals import upstream

DECLARED = ast.parse(Path(upstream.__file__ + "i").read_text())
CLASSES = {
    node.name: node
    for node in DECLARED.body
    if isinstance(node, ast.ClassDef) and node.name.startswith("Private")
}
METHODS = [
    (name, method)
    for name, node in CLASSES.items()
    for method in node.body
    if isinstance(method, ast.FunctionDef)
]

UPSTREAM = ("paramiko", "fabric", "invoke")
#: What is used without a declaration, by class: attributes that no documentation promises, and private names
#: of Fabric and Invoke.
ATTRIBUTES = {
    "paramiko.Transport": """
        active auth_handler authenticated channel_events channels_seen clear_to_send clear_to_send_lock
        completion_event default_max_packet_size default_window_size disabled_algorithms host_key_type
        in_kex kex_engine local_version lock logger packetizer saved_exception server_extensions""",
    "paramiko.Channel": """
        chanid closed eof_received eof_sent event exit_status in_buffer in_stderr_buffer in_window_size
        in_window_sofar in_window_threshold lock out_max_packet_size out_window_size remote_chanid
        status_event transport""",
    "paramiko.auth_handler.AuthHandler": "auth_method",
    "paramiko.packet.Packetizer": "REKEY_BYTES REKEY_PACKETS",
    "paramiko.kex_gex.KexGexSHA256": "hash_algo max_bits min_bits name x",
    "paramiko.kex_group14.KexGroup14SHA256": "P hash_algo name x",
    "fabric.Config": "_clone_init_kwargs base_ssh_config",
    "fabric.Connection": "_sftp",
    "fabric.ThreadingGroup": "_do",
    "invoke.Config": "_clone_init_kwargs _modifications _overrides _runtime",
    "invoke.parser.Argument": "got_value positional raw_value set_value value",
    "invoke.parser.ParserContext": "args",
    "invoke.parser.ParseResult": "remainder unparsed",
    "invoke.program.Program": """
        argv args binary binary_names collection core initial_context leading_indent print_columns""",
}

#: Digests of the methods that are written again here, or whose inner workings are relied on.
DIGESTS = {
    "paramiko.Transport.run": "649a6304",
    "paramiko.Transport.start_client": "9c5ad41e",
    "paramiko.Transport.open_channel": "74fcc9c5",
    "paramiko.Transport._enforce_strict_kex": "1957cd51",
    "paramiko.Transport._send_user_message": "257366f0",
    "paramiko.Transport._send_message": "e98dc596",
    "paramiko.Transport._parse_disconnect": "da1d7487",
    "paramiko.Transport._parse_newkeys": "d6667dd4",
    "paramiko.Transport._activate_inbound": "6650f22d",
    "paramiko.Transport._activate_outbound": "39bb78fa",
    "paramiko.Transport._parse_ext_info": "05d0e2bc",
    "paramiko.Transport._check_banner": "92223f16",
    "paramiko.Transport._parse_kex_init": "47d17463",
    "paramiko.Transport._really_parse_kex_init": "fefe2a45",
    "paramiko.Transport._get_engine": "0119db27",
    "paramiko.Transport._filter_algorithm": "b472e4d8",
    "paramiko.Transport.close": "153680f6",
    "paramiko.Channel._check_add_window": "7cfbd2f5",
    "paramiko.Channel._set_window": "d9ef8015",
    "paramiko.Channel._feed": "63c4b675",
    "paramiko.Channel._feed_extended": "2c4e4dab",
    "paramiko.Channel._handle_request": "7798e577",
    "paramiko.Channel._handle_close": "9d1020e5",
    "paramiko.Channel._unlink": "78c23dea",
    "paramiko.Channel._wait_for_event": "2c5d8a52",
    "paramiko.Channel.request_forward_agent": "0d5ef414",
    "paramiko.Channel.exec_command": "5d58577b",
    "paramiko.Channel._send": "6bce61c3",
    "paramiko.auth_handler.AuthHandler._parse_userauth_success": "994ddcff",
    "paramiko.packet.Packetizer.send_message": "feca3be8",
    "paramiko.packet.Packetizer.read_message": "891eb007",
    "paramiko.packet.Packetizer.set_inbound_cipher": "074028fc",
    "paramiko.packet.Packetizer.set_outbound_cipher": "9750e80f",
    "paramiko.kex_gex.KexGexSHA256._parse_kexdh_gex_group": "7c7f6f9d",
    "paramiko.kex_gex.KexGexSHA256._generate_x": "1810e064",
    "paramiko.kex_group14.KexGroup14SHA256._generate_x": "64393e3e",
    "paramiko.SSHClient.connect": "e13a4687 feeab18c",
    "paramiko.SFTPClient._async_request": "51462a32",
    "paramiko.SFTPClient._read_response": "85c9b0d9",
    "paramiko.SFTPClient._convert_status": "8c7b3213",
    "paramiko.sftp.BaseSFTP._read_packet": "aea32190",
    "fabric.Config._clone_init_kwargs": "20bffeab",
    "fabric.Connection.close": "7cde680d",
    "fabric.ThreadingGroup._do": "8252b978",
    "fabric.Connection.run": "8f67a67a",
    "invoke.Config._clone_init_kwargs": "18cc8c1d",
    "invoke.parser.Argument.set_value": "17c53a42",
}


def found(path: str) -> object:
    """What `package.module.Class.method` is."""
    parts = path.split(".")
    for count in range(len(parts), 0, -1):
        try:
            thing: object = importlib.import_module(".".join(parts[:count]))
        except ImportError:
            continue
        for part in parts[count:]:
            thing = inspect.getattr_static(thing, part)
        return thing
    raise LookupError(path)


source = cache(inspect.getsource)


def has(kind: type, name: str) -> bool:
    """Whether a class has an attribute, or gives it to its instances."""
    theirs = [base for base in kind.__mro__ if base.__module__.split(".")[0] in UPSTREAM]
    given = re.compile(rf"self\.{name}\b[^=\n]*=(?!=)|_set\({name}=")
    return any(name in vars(base) or given.search(source(base)) for base in theirs)


def digest(function: object) -> str:
    """Of a function's text, without comments, docstrings and how it is laid out."""
    text = inspect.getsource(function)  # type: ignore[arg-type]
    text = re.sub(r'"""[\s\S]*?"""', "", text)
    text = re.sub(r"^\s*#.*$|  # .*$", "", text, flags=re.MULTILINE)
    return hashlib.sha256(re.sub(r"\s+", "", text).encode()).hexdigest()[:8]


@pytest.mark.parametrize(("name", "method"), METHODS, ids=lambda part: getattr(part, "name", part))
def test_a_private_method_can_be_called_as_declared(name: str, method: ast.FunctionDef) -> None:
    theirs = getattr(upstream, name)
    where = f"{theirs.__module__}.{theirs.__name__}"
    assert has(theirs, method.name), f"{where} has no {method.name} any more"
    signature = inspect.signature(getattr(theirs, method.name))
    required = [argument.arg for argument in method.args.args]
    called = f"{where}.{method.name}{signature} is called as {method.name}({', '.join(required)})"
    try:
        signature.bind(*required, *(["more"] * (method.args.vararg is not None)))
    except TypeError as error:
        pytest.fail(f"{called}: {error}")


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_private_attributes_are_as_declared(name: str) -> None:
    theirs = getattr(upstream, name)
    for node in CLASSES[name].body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            assert has(theirs, node.target.id), f"{theirs.__name__} has no {node.target.id} any more"


@pytest.mark.parametrize(("path", "names"), ATTRIBUTES.items(), ids=lambda part: part.split("\n")[0])
def test_attributes_that_nothing_promises_are_there(path: str, names: str) -> None:
    kind = found(path)
    assert isinstance(kind, type)
    for name in names.split():
        assert has(kind, name), f"{path} has no {name} any more"


def test_the_list_of_private_names_is_whole() -> None:
    text = paramiko_internals.__doc__ or ""
    listed = set(re.findall(r"(?<!\w)_[a-z]\w+", text.replace("fabric_hooks", "")))
    declared = {node.name for _, node in METHODS}
    declared |= {
        node.target.id
        for kind in CLASSES.values()
        for node in kind.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    fabrics = {name for path in ATTRIBUTES if path.startswith("fabric") for name in ATTRIBUTES[path].split()}
    private = {name for name in declared | fabrics if name.startswith("_")}
    assert listed == private | {"_async_response"}
    for path, names in ATTRIBUTES.items():
        if path.startswith("paramiko"):
            assert set(names.split()) <= set(text.split()), f"of {path}"


@pytest.mark.parametrize(("path", "digests"), DIGESTS.items())
def test_what_is_written_again_here_has_not_changed(path: str, digests: str) -> None:
    theirs = digest(found(path))
    assert theirs in digests.split(), f"{path} has changed: read the change, then renew the digest ({theirs})"


def _subclasses(kind: type) -> set[type]:
    return {kind} | {each for sub in kind.__subclasses__() for each in _subclasses(sub)}


def test_no_private_name_of_theirs_is_given_another_meaning() -> None:
    """A method of ours that has a private one's name by chance would be called in its place."""
    for module in pkgutil.walk_packages(paramgmt_tasks.ssh.__path__, "paramgmt_tasks.ssh."):
        importlib.import_module(module.name)
    bases = [getattr(upstream, name) for name in CLASSES]
    bases += [fabric.Config, fabric.Connection, fabric.ThreadingGroup, threading.Thread]
    known = set(re.findall(r"(?<!\w)_[a-z]\w+", paramiko_internals.__doc__ or ""))
    for kind in {each for base in bases for each in _subclasses(base)}:
        if kind.__module__.startswith("paramgmt_tasks"):
            theirs = [each for each in kind.__mro__[1:] if not each.__module__.startswith("paramgmt_tasks")]
            taken = {name for name in vars(kind) if any(name in vars(each) for each in theirs)}
            private = {name for name in taken if name.startswith("_") and not name.startswith("__")}
            assert private <= known, f"{kind.__qualname__} has {private - known} of its bases by chance"
