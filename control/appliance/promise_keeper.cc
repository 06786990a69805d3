#include "control/appliance/promise_keeper.h"

#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "common/log.h"

namespace understudy::appliance {
namespace {

constexpr size_t kFileMost = 65536;

class File {
 public:
  File(const std::string& path, int flags) : descriptor_(::open(path.c_str(), flags | O_CLOEXEC, 0600)) {}
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  bool is_open() const { return descriptor_ >= 0; }
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

Error failure(const std::string& path, const char* what) {
  return Error{
      fmt::format("{} cannot be {}: {}; set `promises` of this node to a file on a disk that can be "
                  "written to",
                  path, what, std::strerror(errno))};
}

bool write_all(int descriptor, const std::vector<uint8_t>& bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t written = ::write(descriptor, bytes.data() + done, bytes.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    done += static_cast<size_t>(written);
  }
  return true;
}

Result<cluster::KeptMemory> read_memory(const std::string& path) {
  using State = cluster::KeptMemory::State;
  const File file(path, O_RDONLY);
  if (!file.is_open() && errno == ENOENT) return cluster::KeptMemory{State::none, {}};
  if (!file.is_open()) return failure(path, "read");
  std::vector<uint8_t> bytes(kFileMost);
  const ssize_t length = ::read(file.get(), bytes.data(), bytes.size());
  if (length < 0) return failure(path, "read");
  bytes.resize(static_cast<size_t>(length));
  return cluster::KeptMemory{State::readable, std::move(bytes)};
}

}  // namespace

Status replace_file(const std::string& path, const std::vector<uint8_t>& bytes) {
  const std::string beside = path + ".new";
  {
    const File file(beside, O_WRONLY | O_CREAT | O_TRUNC);
    if (!file.is_open()) return failure(beside, "made");
    if (!write_all(file.get(), bytes) || ::fdatasync(file.get()) != 0) return failure(beside, "written");
  }
  if (::rename(beside.c_str(), path.c_str()) != 0) return failure(path, "replaced");
  const File folder(std::filesystem::path(path).parent_path().string(), O_RDONLY | O_DIRECTORY);
  if (!folder.is_open() || ::fsync(folder.get()) != 0) return failure(path, "synced");
  return {};
}

PromiseKeeper::PromiseKeeper(std::string path, std::function<void()> wake)
    : path_(std::move(path)), wake_(std::move(wake)) {}

Result<std::unique_ptr<PromiseKeeper>> PromiseKeeper::open(const std::string& path,
                                                           std::function<void()> wake) {
  std::error_code fault;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), fault);
  auto memory = read_memory(path);
  if (!memory) return Error{memory.message()};
  const std::string trial = path + ".trial";
  if (const Status written = replace_file(trial, {}); !written) return Error{written.message()};
  ::unlink(trial.c_str());
  std::unique_ptr<PromiseKeeper> keeper(new PromiseKeeper(path, std::move(wake)));
  keeper->found_ = std::move(memory).value();
  PromiseKeeper* self = keeper.get();
  keeper->thread_ = std::thread([self] { self->work(); });
  return keeper;
}

PromiseKeeper::~PromiseKeeper() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void PromiseKeeper::keep(const cluster::Keep& keep) {
  {
    const std::lock_guard lock(mutex_);
    wanted_ = keep;
  }
  changed_.notify_one();
}

std::vector<PromiseKeeper::Done> PromiseKeeper::take_done() {
  const std::lock_guard lock(mutex_);
  has_done_.store(false, std::memory_order_release);
  return std::exchange(done_, {});
}

void PromiseKeeper::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return ends_ || wanted_; });
    if (!wanted_) return;
    const cluster::Keep keep = *std::exchange(wanted_, std::nullopt);
    lock.unlock();
    const Status written = replace_file(path_, keep.bytes);
    if (!written) log_error("promises", "{}", written.message());
    lock.lock();
    done_.push_back({keep.sequence, written.ok()});
    has_done_.store(true, std::memory_order_release);
    wake_();
  }
}

}  // namespace understudy::appliance
