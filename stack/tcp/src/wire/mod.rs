//! Wire formats: from bytes to values and back.
//!
//! Parsing never panics, whatever the bytes: every access is checked, and what
//! does not add up becomes a [`WireError`] that can be counted. Emitting writes
//! a whole frame into a buffer of the caller's.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod address;
mod arp;
mod checksum;
mod ecn;
mod emit;
mod ethernet;
mod frame;
mod icmpv4;
mod icmpv6;
mod ipv4;
mod ipv6;
mod ndp;
mod options;
mod quote;
mod reader;
mod tcp;

use thiserror::Error;

pub use address::IpAddress;
pub use arp::{ARP_FRAME_LEN, ArpOperation, ArpRepr, emit_arp_frame};
pub use checksum::{ChecksumPolicy, Sum};
pub use ecn::Ecn;
pub use emit::{FrameHeader, Ports, emit_tcp_frame};
pub use ethernet::{ETHERNET_HEADER_LEN, EtherType, EthernetAddress};
pub use frame::{Frame, Icmpv4Frame, Icmpv6Frame, TcpFrame, parse_frame};
pub use icmpv4::{EchoRepr, Icmpv4Message, emit_echo_reply};
pub use icmpv6::Icmpv6Message;
pub use ipv4::{IPV4_HEADER_LEN, Ipv4Repr};
pub use ipv6::{IPV6_HEADER_LEN, Ipv6Repr};
pub use ndp::{NDP_HOP_LIMIT, NeighbourMessage, emit_ndp_frame, solicited_node};
pub use options::{MAX_OPTIONS_LEN, SackBlocks, TcpOptions, Timestamps};
pub use quote::QuotedSegment;
pub use tcp::{TCP_HEADER_LEN, TcpFlags, TcpRepr};

/// Why a frame was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum WireError {
    /// The frame ends before its headers do.
    #[error("truncated frame")]
    Truncated,
    /// A header's fields contradict each other or the frame.
    #[error("malformed header")]
    Malformed,
    /// The IPv4 header's sum is wrong.
    #[error("wrong IPv4 header checksum")]
    IpChecksum,
    /// The TCP or ICMP sum is wrong.
    #[error("wrong payload checksum")]
    PayloadChecksum,
    /// A fragment: the stack sets DF on all it sends and never reassembles.
    #[error("IP fragment")]
    Fragment,
}
