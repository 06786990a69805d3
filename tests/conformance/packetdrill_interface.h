#pragma once

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

// The table that the packetdrill tool wants filled by the shared object named in --so_filename: one function
// per system call that scripts make, and the network device. Each gets `userdata` first and fails as the
// system call does, with -1 and errno. The order of the members is the binary interface.
struct PacketdrillInterface {
  void* userdata;
  void (*free)(void* userdata);
  int (*socket)(void* userdata, int domain, int type, int protocol);
  int (*bind)(void* userdata, int fd, const sockaddr* address, socklen_t length);
  int (*listen)(void* userdata, int fd, int backlog);
  int (*accept)(void* userdata, int fd, sockaddr* address, socklen_t* length);
  int (*connect)(void* userdata, int fd, const sockaddr* address, socklen_t length);
  ssize_t (*read)(void* userdata, int fd, void* buffer, size_t count);
  ssize_t (*readv)(void* userdata, int fd, const iovec* pieces, int count);
  ssize_t (*recv)(void* userdata, int fd, void* buffer, size_t length, int flags);
  ssize_t (*recvfrom)(void* userdata, int fd, void* buffer, size_t length, int flags, sockaddr* from,
                      socklen_t* from_length);
  ssize_t (*recvmsg)(void* userdata, int fd, msghdr* message, int flags);
  ssize_t (*write)(void* userdata, int fd, const void* buffer, size_t count);
  ssize_t (*writev)(void* userdata, int fd, const iovec* pieces, int count);
  ssize_t (*send)(void* userdata, int fd, const void* buffer, size_t length, int flags);
  ssize_t (*sendto)(void* userdata, int fd, const void* buffer, size_t length, int flags, const sockaddr* to,
                    socklen_t to_length);
  ssize_t (*sendmsg)(void* userdata, int fd, const msghdr* message, int flags);
  int (*fcntl)(void* userdata, int fd, int command, ...);
  int (*ioctl)(void* userdata, int fd, unsigned long request, ...);
  int (*close)(void* userdata, int fd);
  int (*shutdown)(void* userdata, int fd, int how);
  int (*getsockopt)(void* userdata, int fd, int level, int name, void* value, socklen_t* length);
  int (*setsockopt)(void* userdata, int fd, int level, int name, const void* value, socklen_t length);
  int (*poll)(void* userdata, pollfd* fds, nfds_t count, int timeout);
  // A raw IP packet arrives at the stack under test. 0, or -1 on an error.
  int (*netdev_send)(void* userdata, const void* bytes, size_t count);
  // The next packet that leaves the stack: `count` is the size of the buffer on entry and that of the packet
  // on return, zero when none can ever come; `time_usecs` is when it left.
  int (*netdev_receive)(void* userdata, void* buffer, size_t* count, long long* time_usecs);
  int (*usleep)(void* userdata, useconds_t usec);
  int (*gettimeofday)(void* userdata, timeval* now, struct timezone* zone);
  int (*epoll_create)(void* userdata, int size);
  int (*epoll_ctl)(void* userdata, int epoll, int operation, int fd, epoll_event* event);
  int (*epoll_wait)(void* userdata, int epoll, epoll_event* events, int most, int timeout);
  int (*pipe)(void* userdata, int ends[2]);
  int (*splice)(void* userdata, int from, loff_t* from_offset, int to, loff_t* to_offset, size_t length,
                unsigned int flags);
};

// What the tool looks up in the shared object (packetdrill_loader.cc), and what that looks up in the adapter
// (packetdrill.cc). `flags` is the text of --so_flags, or null.
extern "C" void packetdrill_interface_init(const char* flags, PacketdrillInterface* table);
extern "C" void fill_packetdrill_interface(const char* flags, PacketdrillInterface* table);
