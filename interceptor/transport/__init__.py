"""Reads and writes the sockets of clients and backends. No other package of the data path uses file descriptors."""
