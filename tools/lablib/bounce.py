"""A server that hears all until its client has finished, and only then says it back: python3 -m lablib.bounce PORT"""

import socket
import sys
import threading


def serve(connection):
    with connection:
        heard = []
        while part := connection.recv(1 << 18):
            heard.append(part)
        connection.sendall(b"".join(heard))


def main():
    listener = socket.create_server(("", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


if __name__ == "__main__":
    main()
