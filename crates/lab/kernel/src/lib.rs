//! NAT topologies out of network namespaces and nftables, for the real binaries.
