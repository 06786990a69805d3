"""Two real nginx servers with the same content, and that content."""

import hashlib
import os
import pathlib
import shutil
import signal

from . import system, topology
from .system import LabError, RUN

NAMES = ("b1", "b2")
LISTEN6 = "\n    listen [::]:80 backlog=4096;"
CACHE = pathlib.Path("/var/tmp/understudy-lab")  # random content, made once and kept between labs
BIG, BIG_BYTES = "big.bin", 200_000_000
SMALL, SMALL_TEXT = "small.txt", "an understudy learns the whole part\n"
UPLOADS = RUN / "upload"  # tmpfs: a slow disk must not look like a slow appliance
CERTIFICATE, KEY = RUN / "lab.crt", RUN / "lab.key"

CONFIGURATION = """\
user root;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{ worker_connections 16384; }}
http {{
  # One line per request, with the id that the client gave it: requests can be counted exactly.
  log_format lab '$msec $remote_addr:$remote_port $request_method $uri $arg_id $status $request_length $bytes_sent';
  access_log {directory}/access.log lab;
  client_body_temp_path {uploads}/temporary;
  proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  default_type application/octet-stream;
  sendfile on;
  tcp_nopush off;
  keepalive_timeout 300s;
  keepalive_requests 1000000;
  client_max_body_size 0;
  client_body_buffer_size 1m;
  server {{
    listen 80 backlog=4096;
    listen 443 ssl backlog=4096;{listen6}
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    add_header X-Backend {name};
    root {content};
    location /upload/ {{
      alias {uploads}/;
      dav_methods PUT DELETE;
      create_full_put_path on;
    }}
  }}
}}
"""


def make_content():
    """The 200 MB file and its SHA-256, from the cache where they agree."""
    CACHE.mkdir(mode=0o755, exist_ok=True)
    big, digest = CACHE / BIG, CACHE / f"{BIG}.sha256"
    (CACHE / SMALL).write_text(SMALL_TEXT)
    if big.is_file() and digest.is_file() and big.stat().st_size == BIG_BYTES:
        if sha256_of(big) == digest.read_text().strip():  # reads it into the page cache as well
            return
    if shutil.disk_usage(CACHE).free < 2 * BIG_BYTES:
        raise LabError(f"{CACHE} needs {2 * BIG_BYTES // 1_000_000} MB of free space for the test content")
    with open(f"{big}.new", "wb") as output:
        for _ in range(BIG_BYTES // 1_000_000):
            output.write(os.urandom(1_000_000))
    os.replace(f"{big}.new", big)
    digest.write_text(sha256_of(big))


def sha256_of(path):
    with open(path, "rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def big_sha256():
    return (CACHE / f"{BIG}.sha256").read_text().strip()


def directory(name):
    return RUN / name


def access_log(name):
    return directory(name) / "access.log"


def prepare():
    make_content()
    UPLOADS.mkdir()
    system.run("mount", "-t", "tmpfs", "-o", "size=1g,mode=755", "understudy-lab", UPLOADS)
    system.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
               "-keyout", KEY, "-out", CERTIFICATE, "-days", "30", "-subj", "/CN=lab.understudy.invalid")
    for name in NAMES:
        (UPLOADS / name).mkdir()
        directory(name).mkdir()
        (directory(name) / "nginx.conf").write_text(CONFIGURATION.format(
            name=name, directory=directory(name), uploads=UPLOADS / name, content=CACHE, certificate=CERTIFICATE,
            key=KEY, listen6=LISTEN6 if topology.IPV6 else ""))
    for name in NAMES:
        start(name)


def start(name):
    configuration = directory(name) / "nginx.conf"
    system.start_process(["nginx", "-c", configuration, "-e", directory(name) / "error.log", "-g", "daemon off;"],
                         directory(name) / "nginx.log", name)

    def listening():
        try:
            system.tcp_connect(name, "127.0.0.1", 80, 1).close()
            return True
        except OSError:
            return False
    if not system.wait_until(listening, 5):
        said = system.tail(directory(name) / "nginx.log") or system.tail(directory(name) / "error.log")
        raise LabError(f"nginx does not start on {name}:\n{said}")


def processes(name):
    return [process for process in system.processes_in(name)
            if any("nginx" in word for word in system.command_of(process)[:1])]


def stop(name, number=signal.SIGKILL):
    system.end_processes(processes(name), number)


def stored_uploads(upload):
    """Where an upload of this name lies now: paths, one per backend that has it."""
    return [path for path in (UPLOADS / name / upload for name in NAMES) if path.exists()]


def requests_logged():
    """id -> list of (backend, status) for every request that reached a backend with an id."""
    found = {}
    for name in NAMES:
        try:
            lines = access_log(name).read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if len(fields) >= 6 and fields[4] != "-":
                found.setdefault(fields[4], []).append((name, int(fields[5])))
    return found
