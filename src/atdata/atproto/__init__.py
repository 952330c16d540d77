"""The AT Protocol, knowing nothing of datasets: records, repositories, servers."""
