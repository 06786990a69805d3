#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/config/sections.h"

namespace understudy::config {
namespace {

constexpr size_t kSecretBytesMin = 16;
constexpr size_t kSecretBytesMax = 64 * 1024;

// Two independent SipHash values make the 128 bits. The keys separate this use from others; they are no
// secret.
Secret derive(const std::string& content) {
  Secret result;
  for (uint8_t half = 0; half < 2; ++half) {
    Secret key;
    std::memcpy(key.bytes.data(), "understudy key ", 15);
    key.bytes[15] = half;
    const uint64_t hash = siphash(key, content.data(), content.size());
    for (size_t i = 0; i < 8; ++i) result.bytes[half * 8 + i] = static_cast<uint8_t>(hash >> (8 * i));
  }
  return result;
}

Result<std::string> read_private_file(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0)
    return Error{
        fmt::format("the secret file {} cannot be read: {}; make one with `(umask 077; head -c 32 "
                    "/dev/urandom > {})` and give every node the same",
                    path, std::strerror(errno), path)};
  struct stat status {};
  std::string content(kSecretBytesMax, '\0');
  const bool regular = fstat(file, &status) == 0 && S_ISREG(status.st_mode);
  const ssize_t length = regular ? read(file, content.data(), content.size()) : -1;
  close(file);
  if (length < 0) return Error{fmt::format("the secret file {} is not a regular file; name one", path)};
  if ((status.st_mode & 077) != 0)
    return Error{
        fmt::format("the secret file {} can be read or written by others (mode {:o}); run `chmod 600 {}`",
                    path, status.st_mode & 0777, path)};
  content.resize(static_cast<size_t>(length));
  if (content.size() < kSecretBytesMin)
    return Error{
        fmt::format("the secret file {} holds {} bytes, too few to be one; it needs at least {}: `head -c "
                    "32 /dev/urandom > {}`",
                    path, content.size(), kSecretBytesMin, path)};
  return content;
}

}  // namespace

void read_secret(Reading& reading, const SecretFiles& files, Config& config) {
  ClusterConfig& cluster = config.cluster;
  const auto directory = std::filesystem::path(config.file).parent_path();
  const auto content_of = [&](const std::string& field,
                              const std::string& file) -> std::optional<std::string> {
    const auto content = read_private_file((directory / file).string());
    if (content) return content.value();
    reading.faults.add(reading.places.at(field), content.message());
    return std::nullopt;
  };
  if (files.sealing.empty()) {
    cluster.secret = derive(cluster.name);
    cluster.keys.sealing = seal::cluster_key(cluster.name, cluster.name);
    config.warnings.push_back(fmt::format(
        "{}: the cluster has no `secret_file`, so its secret is its name, which anyone can guess; good "
        "for a trial only",
        reading.places.at("cluster").to_string()));
  } else if (const auto content = content_of("cluster.secret_file", files.sealing)) {
    cluster.secret = derive(*content);
    cluster.keys.sealing = seal::cluster_key(*content, cluster.name);
  }
  if (files.accepted.empty()) return;
  if (const auto content = content_of("cluster.accept_secret_file", files.accepted))
    cluster.keys.accepted = seal::cluster_key(*content, cluster.name);
  if (cluster.keys.accepted == cluster.keys.sealing)
    config.warnings.push_back(fmt::format(
        "{}: `accept_secret_file` holds the same secret as the one that seals; remove the line, or name the "
        "secret that is coming or going",
        reading.places.at("cluster.accept_secret_file").to_string()));
}

}  // namespace understudy::config
