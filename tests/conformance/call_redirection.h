#pragma once

namespace understudy::conformance {

// Makes the calls of `symbol` that the main program itself makes go to `to`, by writing to its table of
// imported functions. The libraries of the process are left alone. False when the program has no such import.
//
// Where the packetdrill tool calls the C library whatever descriptor it holds: getsockopt(TCP_INFO), for the
// sections of scripts that assert tcpi_snd_cwnd and the like, and close for sockets that are left at the end;
// and times(2) and pthread_cond_timedwait, with which it waits for real time to pass.
bool redirect_calls_of_program(const char* symbol, void* to);

}  // namespace understudy::conformance
