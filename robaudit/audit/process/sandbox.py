"""Takes from this process, for good, the network and write access outside of a few folders (Linux).

Landlock, which needs no privileges and works inside containers, guards the files; a seccomp filter refuses sockets,
and the calls that change files in ways that Landlock lets pass. Devices keep working: a GPU is a file that may be
written. Only the standard library is imported, so that this can happen before anything else is loaded.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import os
import platform
import struct
import sys
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

__all__ = [
    "NOT_OFFERED",
    "Mode",
    "NoSandboxError",
    "confine",
    "enter",
    "is_free",
    "landlock_version",
    "missing",
    "mode_of",
    "state",
]

Mode: TypeAlias = Literal["required", "offered", "off"]
"""Of a process: confined or not started, confined where the system can do it, free."""
NOT_OFFERED = "none: this system does not offer one"

CREATE, ADD, RESTRICT = 444, 445, 446
"""System calls of Landlock, the same on every processor."""
WRITE_FILE = 1 << 1
READS = 1 << 0 | 1 << 2 | 1 << 3
"""Execute, read a file, list a folder: these stay free."""
REFER, TRUNCATE = 1 << 13, 1 << 14
TCP, SCOPES = 0b11, 0b11
CONNECT, PORT_RULE = 0b10, 2
"""The right to connect by TCP, and the kind of rule that gives it for a port."""
NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/nvidia*", "/dev/nvidia-caps/*", "/dev/dri/*", "/dev/kfd")
"""Devices that programs write to as a matter of course, and those of GPUs."""
EPERM, UNIX = 1, 1
INTERNET = (2, 10)
"""Families of sockets that reach other machines: IPv4 and IPv6."""
DNS = 53
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
DENIED = {
    # io_uring_setup (it opens sockets by itself), ptrace, process_vm_writev, mount, umount2, setns, unshare, bpf,
    # perf_event_open, add_key, keyctl; then what changes modes, owners, times and attributes of files
    "x86_64": (
        *(425, 101, 311, 165, 166, 308, 272, 321, 298, 248, 250),
        *(90, 91, 268, 452, 92, 93, 94, 260, 132, 235, 280, 261, 188, 189, 190, 197, 198, 199),
    ),
    "aarch64": (*(425, 117, 271, 40, 39, 268, 97, 280, 241, 217, 219), *(52, 53, 452, 54, 55, 88, 5, 6, 7, 14, 15, 16)),
}
CALLS = {"x86_64": {"socket": 41, "open": 2, "openat": 257, "openat2": 437, "truncate": 76}} | {
    "aarch64": {"socket": 198, "open": -1, "openat": 56, "openat2": 437, "truncate": 45}
}


_states: list[str] = []
"""Of this process, which the system cannot be asked about."""


class NoSandboxError(Exception):
    """This system cannot confine a process; the text says what is missing."""


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


class _Port(ctypes.Structure):
    _fields_ = (("allowed", ctypes.c_uint64), ("port", ctypes.c_uint64))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def landlock_version() -> int:
    """Version of Landlock's interface; 0 where there is none."""
    if not sys.platform.startswith("linux"):
        return 0
    version: int = _libc().syscall(CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    return max(version, 0)


def mode_of(asked: bool | None, *, trust_model: bool) -> Mode:  # noqa: FBT001 (the flag itself)
    """The mode that a user asked for: as said, else free for a file that the user trusts."""
    if asked is not None:
        return "required" if asked else "off"
    return "off" if trust_model else "offered"


def missing() -> str | None:
    """Why this system cannot confine a process, as a clause; None where it can."""
    if landlock_version() > 0 and platform.machine() in ARCHITECTURES:
        return None
    return "this system cannot confine a process (it takes Linux 5.13 or newer with Landlock, on x86-64 or ARM64)"


def state() -> str | None:
    """What confines this process, for the record; None where nobody chose."""
    return _states[-1] if _states else None


def is_free() -> bool:
    """Whether it was settled that nothing confines this process."""
    return bool(_states) and not _states[-1].startswith("Landlock")


def confine(mode: Mode, writable: Iterable[str], *, sockets: bool = False, ports: Sequence[int] = ()) -> None:
    """Confine this process and all that it starts, as :func:`enter` does, where ``mode`` asks for it.

    Raises:
        NoSandboxError: it is required, and the system cannot do it.
    """
    if mode == "off":
        _states.append("off, as --no-sandbox or --trust-model asks")
        return
    try:
        enter(writable, sockets=sockets, ports=ports)
    except NoSandboxError:
        if mode == "required":
            raise
        _states.append(NOT_OFFERED)


def enter(writable: Iterable[str], *, sockets: bool = False, ports: Sequence[int] = ()) -> None:
    """Confine this process and all that it starts.

    Args:
        writable: folders that may be written, with all in them.
        sockets: local sockets (AF_UNIX) stay, which CUDA needs; they reach no other machine.
        ports: of other machines that may be connected to, and their names be asked for; none: no network.

    Raises:
        NoSandboxError: the system cannot do it; the process is as free as before.
    """
    machine, version = platform.machine(), landlock_version()
    if (reason := missing()) is not None:
        raise NoSandboxError(reason)
    files = ((1 << 13) - 1) & ~READS
    files |= (REFER if version >= 2 else 0) | (TRUNCATE if version >= 3 else 0)
    rules = _Ruleset(files, TCP if version >= 4 else 0, SCOPES if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = _call(CREATE, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint32(0))
    try:
        for folder in writable:
            _allow(ruleset, folder, files)
        for port in (*ports, DNS) if ports and version >= 4 else ():
            rule = _Port(CONNECT, port)
            _call(ADD, ctypes.c_int(ruleset), ctypes.c_int(PORT_RULE), ctypes.byref(rule), ctypes.c_uint32(0))
        for device in (found for pattern in DEVICES for found in glob.glob(pattern)):
            with contextlib.suppress(OSError):
                _allow(ruleset, device, files & (WRITE_FILE | TRUNCATE))
        if _libc().prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
            raise NoSandboxError("this system lets no process give up privileges")
        _call(RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)
    families = (*((UNIX,) if sockets else ()), *(INTERNET if ports else ()))
    _filter(machine, families=families, truncation=version < 3)
    network = "no network"
    if ports:
        listed = ", ".join(map(str, ports))
        network = f"network to port {listed} alone" if version >= 4 else "network, as an endpoint is asked"
    _states.append(f"Landlock {version} and seccomp: {network}, writes in its own folders alone")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    result: int = _libc().syscall(number, *arguments)
    if result < 0:
        raise NoSandboxError(f"this system refuses to confine a process ({os.strerror(ctypes.get_errno())})")
    return result


def _allow(ruleset: int, path: str, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _Beneath(rights, descriptor)
        _call(ADD, ctypes.c_int(ruleset), ctypes.c_int(1), ctypes.byref(rule), ctypes.c_uint32(0))
    finally:
        os.close(descriptor)


def _filter(machine: str, *, families: Sequence[int], truncation: bool) -> None:
    """Refuse system calls with EPERM: a program for the kernel's classic packet filter."""
    program = _program(machine, families=families, truncation=truncation)
    content = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    held = _Program(len(program), content)
    if _libc().prctl(SECCOMP, FILTER, ctypes.byref(held), 0, 0) != 0:
        raise NoSandboxError(f"this system refuses a seccomp filter ({os.strerror(ctypes.get_errno())})")


def _program(machine: str, *, families: Sequence[int], truncation: bool) -> list[tuple[int, int, int, int]]:
    """(code, jump if true, jump if false, operand) of each instruction.

    ``families``: of sockets that may be opened; ``truncation``: Landlock cannot see it.
    """
    load, equal, above, bits, give = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, refuse = (give, 0, 0, 0x7FFF0000), (give, 0, 0, 0x00050000 | EPERM)
    number, architecture, first, second, third = 0, 4, 16, 24, 32
    calls = CALLS[machine]
    made = [(load, 0, 0, architecture), (equal, 1, 0, ARCHITECTURES[machine]), refuse, (load, 0, 0, number)]
    made += [(above, 0, 1, 0x40000000), refuse]  # x86-64's second interface, with the same calls under other numbers
    for denied in DENIED[machine] + ((calls["truncate"], calls["openat2"]) if truncation else ()):
        made += [(equal, 0, 1, denied), refuse]
    checked = [step for family in families for step in ((equal, 0, 1, family), allow)]
    kept = [(load, 0, 0, first), *checked, refuse] if families else [refuse]
    made += [(equal, 0, len(kept), calls["socket"]), *kept]
    if truncation:  # opening for reading alone, with O_TRUNC, empties a file too
        for name, place in (("open", second), ("openat", third)):
            if calls[name] >= 0:
                checks = [(load, 0, 0, place), (bits, 0, 2, os.O_TRUNC), (bits, 1, 0, os.O_ACCMODE), refuse]
                made += [(equal, 0, len(checks) + 1, calls[name]), *checks, allow]
    return [*made, allow]
