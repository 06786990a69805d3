#include "dataplane/mirror/frame_sealer.h"

#include <cstring>
#include <utility>

#include "common/check.h"

namespace understudy::mirror {

seal::Nonce nonce_of(uint8_t worker, uint8_t link, uint64_t number) {
  seal::Nonce nonce{};
  const be64_t counter(number);
  nonce[0] = worker;
  nonce[1] = link;
  std::memcpy(nonce.data() + nonce.size() - sizeof counter, &counter, sizeof counter);
  return nonce;
}

FrameSealer::FrameSealer(const seal::KeyRing& keys, NodeId node, BootId boot, size_t links)
    : node_(node), boot_(boot), numbers_(links) {
  invariant(links <= UINT8_MAX, "more links than a sealed frame can name");
  set_keys(keys);
}

void FrameSealer::set_keys(const seal::KeyRing& keys) {
  std::swap(aead_, former_);
  former_id_ = std::exchange(key_id_, keys.sealing.id);
  aead_.set_key(seal::FrameKeys(keys.sealing).of(node_, boot_));
}

void FrameSealer::seal(std::span<const uint8_t> plain, unsigned link, uint8_t* out) {
  ClusterFrameHeader header;
  std::memcpy(&header, plain.data(), sizeof header);
  const auto payload = plain.subspan(sizeof header);
  invariant(header.length.get() == payload.size() && header.from_node.get() == node_.value(),
            "sealing something that is no cluster frame of ours");
  header.cluster = key_id_;
  std::memcpy(out, &header, sizeof header);
  SealTrailer trailer;
  trailer.link = static_cast<uint8_t>(link);
  trailer.number = ++numbers_[link];
  aead_.seal(nonce_of(header.from_worker, trailer.link, numbers_[link]), {out, sizeof header}, payload,
             out + sizeof header);
  constexpr size_t kAfterTag = offsetof(SealTrailer, link);
  std::memcpy(out + plain.size() + kAfterTag, reinterpret_cast<const uint8_t*>(&trailer) + kAfterTag,
              sizeof trailer - kAfterTag);
}

bool FrameSealer::seal_again(std::span<const uint8_t> sealed, unsigned link, uint8_t* out) {
  const size_t plain = sealed.size() - sizeof(SealTrailer);
  ClusterFrameHeader header;
  SealTrailer trailer;
  std::memcpy(&header, sealed.data(), sizeof header);
  std::memcpy(&trailer, sealed.data() + plain, sizeof trailer);
  const uint32_t key = header.cluster.get();
  if (key != key_id_ && key != former_id_) return false;
  std::memcpy(out, sealed.data(), plain);
  const bool opened =
      (key == key_id_ ? aead_ : former_)
          .open(nonce_of(header.from_worker, trailer.link, trailer.number.get()), {out, sizeof header},
                {out + sizeof header, plain - sizeof header}, trailer.tag);
  invariant(opened, "a frame that we have sealed and kept does not open");
  seal({out, plain}, link, out);
  return true;
}

}  // namespace understudy::mirror
