"""What the lab asks of the operating system: commands, network namespaces, processes, one lock, root."""

import contextlib
import ctypes
import fcntl
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
RUN = pathlib.Path("/run/understudy-lab")  # everything that the running lab writes, but for the content cache
LOCK = pathlib.Path("/run/understudy-lab.lock")
PREFIX = "us-"  # of every namespace
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)
_lock_descriptor = None


class LabError(Exception):
    """A sentence for the person who typed the command."""


def binary():
    return ROOT / "build/control/appliance/understudy"


def become_root():
    """Network namespaces need root: starts the same command again through sudo where that is not given."""
    if os.geteuid() == 0:
        return
    if os.environ.get("UNDERSTUDY_SUDO"):
        raise LabError("sudo did not give root; run this as root")
    os.environ["UNDERSTUDY_SUDO"] = "1"
    try:
        os.execvp("sudo", ["sudo", "--preserve-env=UNDERSTUDY_SUDO", sys.executable, *sys.argv])
    except FileNotFoundError:
        raise LabError("this needs root, and there is no sudo here") from None


@contextlib.contextmanager
def one_at_a_time(seconds=30):
    """Holds the lab's lock. Short commands inherit it, so that it stays held until the last child of a killed
    `lab` has ended; nodes and servers do not."""
    global _lock_descriptor
    descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > end:
                holder = os.pread(descriptor, 32, 0).decode().strip() or "unknown"
                raise LabError(f"another lab command (process {holder}) has been busy for {seconds} s") from None
            time.sleep(0.05)
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    _lock_descriptor = descriptor
    try:
        yield
    finally:
        _lock_descriptor = None
        os.close(descriptor)


def run(*command, stdin=None, check=True):
    """Runs a short command and returns its output; a failure becomes a LabError with what it said."""
    inherited = () if _lock_descriptor is None else (_lock_descriptor,)
    try:
        done = subprocess.run([str(word) for word in command], input=stdin, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, pass_fds=inherited, check=False)
    except FileNotFoundError:
        raise LabError(f"{command[0]} is not installed; tools/setup installs it") from None
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise LabError(f"`{' '.join(str(word) for word in command)}` failed: {said}")
    return done.stdout


def namespace(place):
    return PREFIX + place


def namespace_file(place):
    return pathlib.Path("/run/netns") / namespace(place)


def places():
    """Every place of the lab that exists now."""
    directory = pathlib.Path("/run/netns")
    if not directory.is_dir():
        return []
    return sorted(entry.name[len(PREFIX):] for entry in directory.iterdir() if entry.name.startswith(PREFIX))


@contextlib.contextmanager
def inside(place):
    """The calling thread stands in the namespace of `place` meanwhile. Sockets opened there stay there, and
    processes started there live there."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        try:
            other = os.open(namespace_file(place), os.O_RDONLY)
        except FileNotFoundError:
            raise LabError(f"there is no {namespace(place)}; `tools/lab up` makes it") from None
        try:
            if _libc.setns(other, CLONE_NEWNET) != 0:
                raise LabError(f"cannot enter {namespace(place)}: {os.strerror(ctypes.get_errno())}")
        finally:
            os.close(other)
        try:
            yield
        finally:
            if _libc.setns(own, CLONE_NEWNET) != 0:
                os._exit(70)  # nothing that follows would act where it means to
    finally:
        os.close(own)


def tcp_connect(place, address, port, seconds):
    """A connected socket that lives in `place`."""
    with inside(place):
        connection = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    connection.settimeout(seconds)
    try:
        connection.connect((address, port))
    except OSError:
        connection.close()
        raise
    return connection


def set_sysctl(place, name, value):
    with inside(place):
        pathlib.Path("/proc/sys", *name.split(".")).write_text(str(value))


def processes_in(place):
    """Processes whose network namespace is that of `place`, but for this one."""
    try:
        wanted = os.stat(namespace_file(place))
    except FileNotFoundError:
        return []
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            its = os.stat(f"/proc/{entry}/ns/net")
            if (its.st_ino, its.st_dev) == (wanted.st_ino, wanted.st_dev):
                found.append(int(entry))
    return found


def command_of(process):
    try:
        return pathlib.Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def is_running(process):
    """False for a process that is gone or only waits to be collected by its parent."""
    try:
        text = pathlib.Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


def end_processes(found, number=signal.SIGKILL, seconds=5):
    """Sends the signal and waits until the processes have ended; returns those that have not."""
    for process in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)
    end = time.monotonic() + seconds
    left = list(found)
    while left and time.monotonic() < end:
        for process in left:
            with contextlib.suppress(ChildProcessError, PermissionError):
                os.waitpid(process, os.WNOHANG)
        left = [process for process in left if is_running(process)]
        if left:
            time.sleep(0.005)
    return left


def start_process(command, log, place=None, directory="/"):
    """Starts a process that outlives this one, in `place`, with its output appended to `log`."""
    words = [str(word) for word in command]
    if place:
        words = ["ip", "netns", "exec", namespace(place), *words]
    with open(log, "ab") as output:
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=directory,
                                start_new_session=True)


def tail(path, lines=20):
    try:
        text = pathlib.Path(path).read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def wait_until(condition, seconds, interval=0.02):
    """The first true value that `condition` gives, or None when the time has passed."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            return None
        time.sleep(interval)
