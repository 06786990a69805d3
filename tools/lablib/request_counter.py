"""Many small requests, each with an id of its own and never repeated by the client:

    python3 -m lablib.request_counter HOST --run NAME [--seconds S] [--connections N] [--per-connection N]

prints JSON: the ids that were answered with 200, and those that were not, with why. Compared with what the backends
logged (compare) this tells whether the balancer repeated or lost one.
"""

import argparse
import json
import socket
import sys
import threading
import time


def one_connection(options, name, end, answered, failed):
    """Requests one after another, on a new connection every so often, until the time is over."""
    number = 0
    while time.monotonic() < end:
        try:
            connection = socket.create_connection((options.host, options.port), options.timeout)
        except OSError:
            number += 1
            failed[f"{options.run}-{name}-{number}"] = "no connection"  # the request itself was never sent
            time.sleep(0.05)
            continue
        connection.settimeout(options.timeout)
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(options.per_connection):
                number += 1
                identity = f"{options.run}-{name}-{number}"
                problem = one_request(connection, options.host, identity)
                if problem:
                    failed[identity] = problem
                    break
                answered.append(identity)
                if time.monotonic() >= end:
                    break


def one_request(connection, host, identity):
    """None when the answer is a complete 200, otherwise what went wrong."""
    try:
        connection.sendall(f"GET /small.txt?id={identity} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        received = b""
        while b"\r\n\r\n" not in received:
            part = connection.recv(65536)
            if not part:
                return "closed before the answer"
            received += part
        head, _, body = received.partition(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n")
                      if line.lower().startswith(b"content-length:"))
        while len(body) < length:
            part = connection.recv(65536)
            if not part:
                return "closed within the answer"
            body += part
    except OSError as error:
        return error.strerror or "timeout"
    if not head.startswith(b"HTTP/1.1 200"):
        return head.split(b"\r\n")[0].decode("latin-1")
    return "more than one answer" if len(body) > length else None


def compare(result, logged):
    """Sentences about every request that did not happen exactly once; empty when all did.

    `logged`: id -> list of (backend, status)."""
    faults = [f"{identity}: {problem}" for identity, problem in result["failed"].items()]
    for identity in result["answered"]:
        seen = logged.get(identity, [])
        if len(seen) != 1:
            faults.append(f"{identity}: answered, and logged {len(seen)} times: {seen}")
    for identity in result["failed"]:
        if len(logged.get(identity, [])) > 1:
            faults.append(f"{identity}: logged {len(logged[identity])} times")
    return faults


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("host")
    parser.add_argument("--port", type=int, default=80)
    parser.add_argument("--run", required=True, help="begins every id")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--connections", type=int, default=8, help="at the same time")
    parser.add_argument("--per-connection", type=int, default=10, help="requests before a new connection")
    parser.add_argument("--timeout", type=float, default=10, help="for one step of one request")
    options = parser.parse_args()
    answered, failed = [], {}
    end = time.monotonic() + options.seconds
    threads = [threading.Thread(target=one_connection, args=(options, name, end, answered, failed))
               for name in range(options.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"answered": answered, "failed": failed}))
    return 0 if not failed else 1


if __name__ == "__main__":
    sys.exit(main())
