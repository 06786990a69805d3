#include "control/console/commands.h"

#include <gtest/gtest.h>

#include "tests/unit/console/fake_source.h"

namespace understudy::console {
namespace {

class Commands : public ::testing::Test {
 protected:
  Commands() { add_commands(table_, source_); }
  std::string text(const std::string& line) {
    const Reply reply = table_.execute(line);
    EXPECT_TRUE(reply.ok) << line << ": " << reply.text;
    return reply.text;
  }
  std::string refusal(const std::string& line) {
    const Reply reply = table_.execute(line);
    EXPECT_FALSE(reply.ok) << line;
    return reply.text;
  }
  Json json(const std::string& line) { return Json::parse(text(line)); }
  FakeSource source_;
  CommandTable table_;
};

TEST_F(Commands, ShowCluster) {
  EXPECT_EQ(text("show cluster"),
            "Cluster example, node n1 (id 1, boot 0000000000000abc), longest stall 1.5 ms\n"
            "\n"
            "PEER  ID  BOOT              STATE  LAST BEAT\n"
            "n2     2  0000000000000def  alive  front 12.0 ms, peer -\n"
            "\n"
            "Group web (id 1): owner(protected)\n"
            "  why            node n2 fell silent\n"
            "  owner          n1, epoch 7.1\n"
            "  standby        n2 (synced)\n"
            "  legs           10 protected, 2 unprotected\n"
            "  virtual IPs    10.10.0.10/24\n"
            "  ARP            virtual_mac, MAC 02:55:53:00:00:01\n"
            "  last takeover  1 min 30 s ago, takeover from n2: n2 silent on every link for 100 ms\n"
            "                 detection 100.0 ms, decision 2.0 ms, claim 350 us, first packet -; in all -\n"
            "\n"
            "MIRROR WORKER  GROUP  PEER  LAG FRAMES  LAG BYTES  RETRANSMITTED  LAST COMMIT\n"
            "            0  web       2           3       4096              1       800 us\n");
}

TEST_F(Commands, FailoverGroup) {
  EXPECT_EQ(text("failover group web to n2"), "Group web is n2's now; handed over in 2.3 ms.\n");
  const Json done = json("failover group web to n2 json");
  EXPECT_EQ(done["group"], "web");
  EXPECT_EQ(done["owner"], "n2");
  EXPECT_EQ(done["took_us"], 2300);
  EXPECT_NE(refusal("failover group mail to n2").find("there is no `mail`"), std::string::npos);
  EXPECT_NE(refusal("failover group web to n9").find("there is no `n9`"), std::string::npos);
  EXPECT_NE(refusal("failover group web"), "");
}

TEST_F(Commands, ShowClusterJson) {
  const Json cluster = json("show cluster json");
  EXPECT_EQ(cluster["node"], "n1");
  EXPECT_EQ(cluster["longest_stall_us"], 1500);
  EXPECT_EQ(cluster["peers"][0]["links"][0]["quiet_us"], 12000);
  EXPECT_TRUE(cluster["peers"][0]["links"][1]["quiet_us"].is_null());
  const Json& group = cluster["groups"][0];
  EXPECT_EQ(group["owner"], "n1");
  EXPECT_EQ(group["standby_state"], "synced");
  EXPECT_EQ(group["protected"], 10);
  EXPECT_EQ(group["epoch"]["counter"], 7);
  EXPECT_EQ(group["virtual_ips"], Json::array({"10.10.0.10/24"}));
  EXPECT_EQ(group["last_takeover"]["detection_us"], 100000);
  EXPECT_TRUE(group["last_takeover"]["first_packet_us"].is_null());
  EXPECT_EQ(cluster["streams"][0]["lag_bytes"], 4096);
}

TEST_F(Commands, ExplainGroup) {
  EXPECT_EQ(text("explain group web"),
            "Group web: owner(protected) for 1 min 29 s\n"
            "  why            node n2 fell silent\n"
            "  owner          n1, epoch 7.1\n"
            "  standby        n2\n"
            "  legs           10 protected, 2 unprotected\n"
            "\n"
            "1 min 30 s ago, takeover from n2, epoch 7.1\n"
            "  why            n2 silent on every link for 100 ms\n"
            "  signs of life  n2 silent when suspected: front 100.0 ms\n"
            "  consent        a gateway answered\n"
            "  held here      11 connections, the mirror was synced\n"
            "  lost           1 of 12 connections\n"
            "  took           detection 100.0 ms, decision 2.0 ms, claim 350 us, first packet -; in all -\n"
            "\n"
            "       AGO  SUBJECT  EVENT\n"
            "1 min 30 s  cluster  group web: standby(synced) -> suspecting: n2 silent\n");
  const Json story = json("explain group web json");
  EXPECT_EQ(story["transitions"][0]["to"], "suspecting");
  EXPECT_EQ(story["takeovers"][0]["silent"][0]["silent_us"], 100000);
  EXPECT_EQ(story["takeovers"][0]["lost"], 1);
  EXPECT_EQ(refusal("explain group mail"), "there is no group `mail`; this node knows: web\n");
}

TEST_F(Commands, ShowReceipts) {
  EXPECT_NE(text("show receipts").find("Group web\n1 min 30 s ago, takeover from n2, epoch 7.1\n"),
            std::string::npos);
  const Json receipt = json("show receipts json")["receipts"][0];
  EXPECT_EQ(receipt["group"], "web");
  EXPECT_EQ(receipt["claim_us"], 350);
  EXPECT_TRUE(receipt["total_us"].is_null());
  EXPECT_EQ(receipt["owner_connections"], 12);
}

TEST_F(Commands, ShowConn) {
  EXPECT_EQ(text("show conn"),
            "REMOTE             LOCAL          STATE        GROUP  SERVICE  PROTECTED  HELD     RTT  CWND  "
            "PARTNER\n"
            "10.10.0.100:40000  10.10.0.10:80  ESTABLISHED  web    http     yes        1460  250 us     -  "
            "10.20.0.11:80 from 10.20.0.100:5000\n"
            "1 of 1 connections shown\n");
  EXPECT_EQ(source_.last_filter.limit, 100U);
  EXPECT_FALSE(source_.last_filter.group);
}

TEST_F(Commands, ShowConnTakesItsOptions) {
  source_.copies = 50;
  const Json all = json("show conn group web limit 7 json");
  EXPECT_EQ(source_.last_filter.group, "web");
  EXPECT_EQ(source_.last_filter.limit, 7U);
  EXPECT_EQ(all["total"], 50);
  EXPECT_EQ(all["shown"], 7);
  EXPECT_EQ(all["connections"].size(), 7U);
  EXPECT_EQ(all["connections"][0]["key"]["remote_port"], 40000);
  EXPECT_EQ(json("show conn limit 3 json")["shown"], 3);
  EXPECT_FALSE(source_.last_filter.group);
}

TEST_F(Commands, ShowConnRefusesWhatItDoesNotKnow) {
  EXPECT_EQ(refusal("show conn group mail"), "there is no group `mail`; this node knows: web\n");
  EXPECT_EQ(Json::parse(refusal("show conn group mail json"))["error"],
            "there is no group `mail`; this node knows: web");
  EXPECT_EQ(refusal("show conn limit many"),
            "`show conn limit many` is not complete or has a word too many; what begins like it:\n"
            "  show conn [group GROUP] [limit COUNT] [json]\n");
}

TEST_F(Commands, ShowPort) {
  const std::string all = text("show port stats all");
  EXPECT_NE(all.find("NIC statistics for port front"), std::string::npos);
  EXPECT_NE(all.find("NIC statistics for port back"), std::string::npos);
  EXPECT_NE(all.find("RX-packets: 123"), std::string::npos);
  const std::string one = text("show port stats back");
  EXPECT_EQ(one.find("port front"), std::string::npos);
  EXPECT_NE(one.find("TX-bytes: 456789"), std::string::npos);
  EXPECT_EQ(refusal("show port stats side"), "there is no port `side`; this node has: front, back\n");
  const Json ports = json("show port stats all json")["ports"];
  ASSERT_EQ(ports.size(), 2U);
  EXPECT_EQ(ports[0]["rx_frames"], 123);
  EXPECT_TRUE(ports[0]["rx_bits_per_second"].is_null());
}

TEST_F(Commands, SmallerNouns) {
  EXPECT_EQ(text("show events"),
            "  AGO  SUBJECT    EVENT\n"
            "3.0 s  group web  learning -> owner(unprotected)\n");
  EXPECT_EQ(text("show drops"),
            "FRAMES  REASON        MEANING\n"
            "     5  tcp_checksum  TCP checksum wrong\n");
  EXPECT_EQ(text("show worker"),
            "WORKER  CPU  SHARDS  LEGS  LOOPS  BUSY  LONGEST STALL\n"
            "     0  any      64    12   1000  17 %         1.5 ms\n"
            "\n"
            "COUNTER                W0  WHAT IT COUNTS\n"
            "segments_received   12345  Segments received\n"
            "payload_sent_bytes  67890  Payload sent\n");
  EXPECT_EQ(text("show backend"),
            "POOL   BACKEND  ADDRESS     PORT  STATE  WEIGHT  OPEN  SESSIONS  WHY\n"
            "nginx  b1       10.20.0.11    80  DOWN        3     0        99  refused\n");
  EXPECT_EQ(text("show neighbour"),
            "ADDRESS    PORT   STATE      MAC  AGE\n"
            "10.10.0.1  front  resolving  -      -\n");
  EXPECT_EQ(json("show events json")["events"][0]["ago_us"], 3000000);
  EXPECT_EQ(json("show drops json")["drops"].size(), 2U);
  EXPECT_TRUE(json("show worker json")["workers"][0]["cpu"].is_null());
  EXPECT_EQ(json("show worker json")["workers"][0]["counters"]["payload_sent_bytes"], 67890);
  EXPECT_EQ(json("show backend json")["backends"][0]["up"], false);
  EXPECT_TRUE(json("show neighbour json")["neighbours"][0]["mac"].is_null());
}

TEST_F(Commands, HelpListsEveryCommand) {
  const Json list = json("help json");
  EXPECT_EQ(list.size(), table_.commands().size());
  const std::string help = text("help");
  for (const auto& command : table_.commands()) EXPECT_NE(help.find(command->words), std::string::npos);
}

TEST_F(Commands, QuitAsksTheNodeToEnd) {
  EXPECT_EQ(text("quit"), "The node ends.\n");
  EXPECT_EQ(source_.quits, 1);
}

}  // namespace
}  // namespace understudy::console
