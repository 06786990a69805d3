#include "control/etcd/curl_transport.h"

#include <algorithm>
#include <iterator>

#include <curl/curl.h>
#include <fmt/format.h>

#include "common/check.h"

namespace understudy::etcd {
namespace {

constexpr size_t kBodyMax = 64 * 1024;  // a record is far smaller
constexpr int kPollMs = 1000;

size_t take_body(char* bytes, size_t size, size_t count, void* into) {
  auto& body = *static_cast<std::string*>(into);
  if (body.size() + size * count > kBodyMax) return 0;  // ends the transfer with an error
  body.append(bytes, size * count);
  return size * count;
}

}  // namespace

struct CurlTransport::Exchange {
  CURL* handle = nullptr;
  uint64_t call = 0;
  std::string request, body;
  char error[CURL_ERROR_SIZE] = "";
};

CurlTransport::CurlTransport(CurlSettings settings, std::function<void()> ring)
    : settings_(std::move(settings)), ring_(std::move(ring)) {}

Result<std::unique_ptr<CurlTransport>> CurlTransport::start(CurlSettings settings,
                                                            std::function<void()> ring) {
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) return Error{"libcurl cannot be initialised"};
  std::unique_ptr<CurlTransport> transport(new CurlTransport(std::move(settings), std::move(ring)));
  transport->multi_ = curl_multi_init();
  if (transport->multi_ == nullptr) return Error{"libcurl has no memory"};
  transport->headers_ = curl_slist_append(nullptr, "Content-Type: application/json");
  transport->thread_ = std::thread([raw = transport.get()] { raw->run(); });
  return transport;
}

CurlTransport::~CurlTransport() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  if (multi_ != nullptr) curl_multi_wakeup(static_cast<CURLM*>(multi_));
  if (thread_.joinable()) thread_.join();
  for (const auto& exchange : running_) {
    curl_multi_remove_handle(static_cast<CURLM*>(multi_), exchange->handle);
    curl_easy_cleanup(exchange->handle);
  }
  for (void* handle : idle_) curl_easy_cleanup(handle);
  if (multi_ != nullptr) curl_multi_cleanup(static_cast<CURLM*>(multi_));
  curl_slist_free_all(static_cast<curl_slist*>(headers_));
}

void CurlTransport::post(uint64_t call, size_t endpoint, const char* path, std::string body,
                         Duration timeout) {
  {
    const std::lock_guard lock(mutex_);
    requests_.push_back({call, settings_.endpoints[endpoint] + path, std::move(body), timeout});
  }
  curl_multi_wakeup(static_cast<CURLM*>(multi_));
}

void CurlTransport::gather() {
  const std::lock_guard lock(mutex_);
  std::ranges::move(replies_, std::back_inserter(gathered_));
  replies_.clear();
  has_replies_.store(false, std::memory_order_release);
}

void CurlTransport::reply(Reply reply) {
  {
    const std::lock_guard lock(mutex_);
    replies_.push_back(std::move(reply));
    has_replies_.store(true, std::memory_order_release);
  }
  if (ring_) ring_();
}

void CurlTransport::begin(Request request) {
  auto exchange = std::make_unique<Exchange>();
  if (idle_.empty()) {
    exchange->handle = curl_easy_init();
    if (exchange->handle == nullptr)
      return reply({.call = request.call, .body = {}, .error = "libcurl has no memory", .left = false});
  } else {
    exchange->handle = idle_.back();
    idle_.pop_back();
    curl_easy_reset(exchange->handle);
  }
  exchange->call = request.call;
  exchange->request = std::move(request.body);
  CURL* handle = exchange->handle;
  curl_easy_setopt(handle, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, static_cast<curl_slist*>(headers_));
  curl_easy_setopt(handle, CURLOPT_POSTFIELDS, exchange->request.c_str());
  curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE, static_cast<long>(exchange->request.size()));
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, take_body);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &exchange->body);
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, exchange->error);
  curl_easy_setopt(handle, CURLOPT_PRIVATE, exchange.get());
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_TCP_NODELAY, 1L);
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, std::max(1L, static_cast<long>(to_ms(request.timeout))));
  curl_easy_setopt(handle, CURLOPT_PROXY, "");  // whatever the environment says
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  if (!settings_.ca_file.empty()) curl_easy_setopt(handle, CURLOPT_CAINFO, settings_.ca_file.c_str());
  if (!settings_.certificate_file.empty()) {
    curl_easy_setopt(handle, CURLOPT_SSLCERT, settings_.certificate_file.c_str());
    curl_easy_setopt(handle, CURLOPT_SSLKEY, settings_.key_file.c_str());
  }
  curl_multi_add_handle(static_cast<CURLM*>(multi_), handle);
  running_.push_back(std::move(exchange));
}

void CurlTransport::finish_done() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(static_cast<CURLM*>(multi_), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    CURL* handle = message->easy_handle;
    const CURLcode code = message->data.result;
    const auto found = std::ranges::find(running_, handle, [](const auto& each) { return each->handle; });
    invariant(found != running_.end(), "etcd: a transfer that nobody began");
    Exchange& exchange = **found;
    Reply done{.call = exchange.call, .body = {}, .error = {}};
    if (code == CURLE_OK) {
      long status = 0;
      curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
      done.status = static_cast<int>(status);
      done.body = std::move(exchange.body);
    } else {
      long request_bytes = 0;
      curl_easy_getinfo(handle, CURLINFO_REQUEST_SIZE, &request_bytes);
      done.left = request_bytes > 0;
      done.error = exchange.error[0] != '\0' ? exchange.error : curl_easy_strerror(code);
    }
    curl_multi_remove_handle(static_cast<CURLM*>(multi_), handle);
    idle_.push_back(handle);
    running_.erase(found);
    reply(std::move(done));
  }
}

void CurlTransport::run() {
  auto* multi = static_cast<CURLM*>(multi_);
  while (true) {
    std::vector<Request> begun;
    {
      const std::lock_guard lock(mutex_);
      if (ends_) return;
      begun = std::exchange(requests_, {});
    }
    for (Request& request : begun) begin(std::move(request));
    int running = 0;
    curl_multi_perform(multi, &running);
    finish_done();
    curl_multi_poll(multi, nullptr, 0, kPollMs, nullptr);
  }
}

}  // namespace understudy::etcd
