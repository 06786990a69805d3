#include "tests/conformance/profile.h"

#include <charconv>

#include "tests/conformance/system_settings.h"

namespace understudy::conformance {
namespace {

template <class Number>
bool read_number(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

Status apply_flag(std::string_view flag, AdapterFlags& flags) {
  if (flag == "profile=linux") {
    flags.profile = Profile::linux_like;
  } else if (flag == "profile=freebsd") {
    flags.profile = Profile::freebsd_like;
  } else if (flag == "sysctls=follow" || flag == "sysctls=ignore") {
    flags.follows_sysctls = flag == "sysctls=follow";
  } else if (flag == "failover=never") {
    flags.failover = Failover::never;
  } else if (flag == "failover=every_event") {
    flags.failover = Failover::every_event;
  } else if (constexpr std::string_view kCrash = "failover=crash_at="; flag.starts_with(kCrash)) {
    if (!read_number(flag.substr(kCrash.size()), flags.crash_event))
      return Error{"so_flags: `" + std::string(flag) + "`: crash_at takes the number of an event, from 1"};
    flags.failover = Failover::crash_at;
  } else if (constexpr std::string_view kMtu = "mtu="; flag.starts_with(kMtu)) {
    if (!read_number(flag.substr(kMtu.size()), flags.mtu) || flags.mtu < 68)
      return Error{"so_flags: `" + std::string(flag) + "`: mtu takes a number of bytes, 68 to 65535"};
  } else {
    return Error{"so_flags: `" + std::string(flag) +
                 "` is not known; there are profile=linux|freebsd, failover=never|every_event|crash_at=K, "
                 "sysctls=follow|ignore and mtu=BYTES"};
  }
  return {};
}

}  // namespace

Result<AdapterFlags> parse_flags(std::string_view text) {
  AdapterFlags flags;
  while (!text.empty()) {
    const size_t end = text.find_first_of(" ,");
    const std::string_view flag = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (flag.empty()) continue;
    if (Status status = apply_flag(flag, flags); !status) return status.error();
  }
  return flags;
}

ProfileSettings settings_of(const AdapterFlags& flags) {
  ProfileSettings s;
  s.failover = flags.failover;
  s.crash_event = flags.crash_event;
  s.engine.mtu = flags.mtu;
  s.engine.legs = 64;
  s.engine.active_legs = 64;
  s.engine.chunks = 8192;
  s.engine.sent_segments = 8192;
  s.engine.pinned_max = 1500 * 2304;  // of 2047 buffers
  if (flags.profile == Profile::linux_like) {
    s.engine.receive_buffer = 65535;
    s.engine.receive_buffer_max = 15 << 20;
    s.send_buffer = 4 << 20;
    s.engine.syn_options = wire::SynOptionOrder::linux_like;
    s.engine.delayed_ack = 40ms;
    s.engine.quick_acks = 16;
    s.engine.push_every = 2;
    s.doubles_buffers = true;
    if (flags.follows_sysctls) apply_system_settings(s);
  } else {
    s.engine.syn_options = wire::SynOptionOrder::freebsd_like;
    apply_freebsd_settings(s);
  }
  return s;
}

}  // namespace understudy::conformance
