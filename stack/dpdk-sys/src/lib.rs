//! The system DPDK.
