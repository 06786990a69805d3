"""The lab: a cluster of Understudy nodes with clients and backends on one machine, in network namespaces."""
