#include "control/observe/metrics_server.h"

#include <cerrno>
#include <cstring>
#include <string_view>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <microhttpd.h>

#include "control/observe/open_metrics.h"

namespace understudy::observe {
namespace {

constexpr unsigned kConnectionsMax = 16;
constexpr unsigned kSilenceMaxSeconds = 10;
constexpr size_t kMemoryPerConnection = 8 * 1024;  // headers of a request; longer ones are refused

sockaddr_storage socket_address(const IpAddress& address, PortNumber port) {
  sockaddr_storage storage{};
  if (address.is_v4()) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(storage);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port.value());
    inet_pton(AF_INET, address.to_string().c_str(), &v4.sin_addr);
  } else {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(storage);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port.value());
    inet_pton(AF_INET6, address.to_string().c_str(), &v6.sin6_addr);
  }
  return storage;
}

MHD_Result answer(MHD_Connection* connection, unsigned status, std::string_view text, const char* type) {
  MHD_Response* response =
      MHD_create_response_from_buffer(text.size(), const_cast<char*>(text.data()), MHD_RESPMEM_MUST_COPY);
  if (response == nullptr) return MHD_NO;
  MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
  if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
    MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
  const MHD_Result queued = MHD_queue_response(connection, status, response);
  MHD_destroy_response(response);
  return queued;
}

}  // namespace

struct MetricsServer::Answering {
  static MHD_Result on_request(void* server, MHD_Connection* connection, const char* url, const char* method,
                               const char*, const char*, size_t* upload_size, void** state) {
    constexpr const char* kPlain = "text/plain; charset=utf-8";
    // First the headers, then, in a second call, what was uploaded (nothing we want).
    static int seen;
    if (*state == nullptr) {
      *state = &seen;
      return MHD_YES;
    }
    if (*upload_size > 0) {
      *upload_size = 0;
      return MHD_YES;
    }
    const std::string_view wanted = method;
    if (wanted != MHD_HTTP_METHOD_GET && wanted != MHD_HTTP_METHOD_HEAD)
      return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "GET or HEAD only\n", kPlain);
    if (std::string_view(url) != "/metrics")
      return answer(connection, MHD_HTTP_NOT_FOUND, "there is only /metrics here\n", kPlain);
    return answer(connection, MHD_HTTP_OK, static_cast<MetricsServer*>(server)->text_(),
                  OpenMetrics::kContentType);
  }
};

Result<std::unique_ptr<MetricsServer>> MetricsServer::start(const IpAddress& address, PortNumber port,
                                                            std::function<std::string()> text) {
  std::unique_ptr<MetricsServer> server(new MetricsServer(std::move(text)));
  const sockaddr_storage where = socket_address(address, port);
  unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD;
  if (!address.is_v4()) flags |= MHD_USE_IPv6;
  server->daemon_ = MHD_start_daemon(
      flags, port.value(), nullptr, nullptr, &Answering::on_request, server.get(), MHD_OPTION_SOCK_ADDR,
      &where, MHD_OPTION_CONNECTION_LIMIT, kConnectionsMax, MHD_OPTION_CONNECTION_TIMEOUT, kSilenceMaxSeconds,
      MHD_OPTION_CONNECTION_MEMORY_LIMIT, kMemoryPerConnection, MHD_OPTION_END);
  if (server->daemon_ == nullptr)
    return Error{fmt::format("cannot listen on {} port {} ({}); give another `metrics: {{listen: ...}}`",
                             address.to_string(), port.value(), std::strerror(errno))};
  return server;
}

PortNumber MetricsServer::port() const {
  const MHD_DaemonInfo* info = MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_BIND_PORT);
  return PortNumber(info == nullptr ? uint16_t{0} : info->port);
}

MetricsServer::~MetricsServer() {
  if (daemon_ != nullptr) MHD_stop_daemon(daemon_);
}

}  // namespace understudy::observe
