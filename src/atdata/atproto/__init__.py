"""The AT Protocol, without datasets: records, repositories, servers."""
