#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/instant.h"

namespace understudy::etcd {

struct Reply {
  uint64_t call = 0;
  int status = 0;  // of HTTP; 0: no answer
  std::string body;
  std::string error;  // without an answer: why, as a sentence
  bool left = true;   // the request may have reached the endpoint
};

// Carries requests to the endpoints of an etcd cluster and answers back. No call waits.
class Transport {
 public:
  virtual ~Transport() = default;
  virtual size_t endpoints() const = 0;
  virtual const std::string& name(size_t endpoint) const = 0;  // its URL
  // A POST with a JSON body. A reply comes after `timeout` at the latest.
  virtual void post(uint64_t call, size_t endpoint, const char* path, std::string body, Duration timeout) = 0;
  // What had come at the last gather(). In between the clock is read: whoever takes a reply at an instant
  // may rely on it that it was there before.
  virtual void gather() = 0;
  virtual std::vector<Reply> take_replies() = 0;
  // Something has come since. Any thread.
  virtual bool has_replies() const = 0;
};

}  // namespace understudy::etcd
