"""What FreeBSD's headers call the states of a connection in TCP_INFO, for the Python code in scripts (PACKETDRILL.md).

The tool writes such names down for Linux only under Linux's own; the numbers are those that the adapter answers with.
"""
import builtins

STATES = ["ESTABLISHED", "SYN_SENT", "SYN_RECEIVED", "FIN_WAIT_1", "FIN_WAIT_2", "TIME_WAIT", "CLOSED", "CLOSE_WAIT",
          "LAST_ACK", "LISTEN", "CLOSING"]
for number, state in enumerate(STATES, 1):
    setattr(builtins, "TCPI_" + state, number)
