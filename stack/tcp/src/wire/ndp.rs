//! Neighbour discovery for IPv6 (RFC 4861): solicitations and advertisements.

use std::net::Ipv6Addr;

use super::address::IpAddress;
use super::checksum::Sum;
use super::emit::FrameHeader;
use super::ethernet::EthernetAddress;
use super::icmpv6::PROTOCOL_ICMPV6;
use super::ipv6::Ipv6Repr;
use super::{WireError, reader};

const TYPE_SOLICITATION: u8 = 135;
const TYPE_ADVERTISEMENT: u8 = 136;

/// Length of a message without options.
const FIXED_LEN: usize = 24;

/// Length of a message with a link-layer address.
const MESSAGE_LEN: usize = FIXED_LEN + 8;

/// Options of a link-layer address: the source's, and the target's.
const OPTION_SOURCE: u8 = 1;
const OPTION_TARGET: u8 = 2;

/// Messages must not have passed a router (RFC 4861 7.1).
pub const NDP_HOP_LIMIT: u8 = 255;

const FLAG_SOLICITED: u8 = 0x40;
const FLAG_OVERRIDE: u8 = 0x20;

/// A neighbour solicitation or advertisement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeighbourMessage {
    /// Who has the target address?
    Solicitation {
        /// The address in question.
        target: IpAddress,
        /// Hardware address of the asker; none while it still makes sure that
        /// its address is free (RFC 4862).
        source_mac: Option<EthernetAddress>,
    },
    /// The sender has it.
    Advertisement {
        /// The address in question.
        target: IpAddress,
        /// Its hardware address; may be left out in an answer to a question that
        /// went to that address already.
        target_mac: Option<EthernetAddress>,
        /// It is an answer.
        solicited: bool,
        /// What is known of the target so far is to be replaced.
        overrides: bool,
    },
}

/// The group that those listen to who have this address (RFC 4291 2.7.1), and
/// its hardware address (RFC 2464 7).
pub fn solicited_node(target: IpAddress) -> (IpAddress, EthernetAddress) {
    let [.., a, b, c] = target.to_v6().octets();
    let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
    (group.into(), EthernetAddress([0x33, 0x33, 0xff, a, b, c]))
}

impl NeighbourMessage {
    /// Parses an ICMPv6 message; `None` for other types. The checks are those of
    /// RFC 4861 7.1.
    pub(super) fn parse(message: &[u8], ip: &Ipv6Repr) -> Result<Option<Self>, WireError> {
        let [kind, code, _, _, flags, _, _, _] = reader::array(message, 0)?;
        if !matches!(kind, TYPE_SOLICITATION | TYPE_ADVERTISEMENT) {
            return Ok(None);
        }
        let target = IpAddress::from(Ipv6Addr::from(reader::array::<16>(message, 8)?));
        if ip.hop_limit != NDP_HOP_LIMIT || code != 0 || target.is_multicast() || target.is_v4() {
            return Err(WireError::Malformed);
        }
        let options = message.get(FIXED_LEN..).unwrap_or_default();
        if kind == TYPE_SOLICITATION {
            let source_mac = link_layer_address(options, OPTION_SOURCE)?;
            if ip.src.is_unspecified() && source_mac.is_some() {
                return Err(WireError::Malformed);
            }
            return Ok(Some(Self::Solicitation { target, source_mac }));
        }
        let solicited = flags & FLAG_SOLICITED != 0;
        if solicited && ip.dst.is_multicast() {
            return Err(WireError::Malformed);
        }
        let target_mac = link_layer_address(options, OPTION_TARGET)?;
        let overrides = flags & FLAG_OVERRIDE != 0;
        Ok(Some(Self::Advertisement { target, target_mac, solicited, overrides }))
    }

    fn emit(&self) -> [u8; MESSAGE_LEN] {
        let (kind, flags, target, option, mac) = match *self {
            Self::Solicitation { target, source_mac } => {
                (TYPE_SOLICITATION, 0, target, OPTION_SOURCE, source_mac)
            }
            Self::Advertisement { target, target_mac, solicited, overrides } => {
                let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
                let flags = flag(solicited, FLAG_SOLICITED) | flag(overrides, FLAG_OVERRIDE);
                (TYPE_ADVERTISEMENT, flags, target, OPTION_TARGET, target_mac)
            }
        };
        let mut message = [0; MESSAGE_LEN];
        let fields: [&[u8]; 4] = [
            &[kind, 0, 0, 0, flags, 0, 0, 0],
            &target.to_v6().octets(),
            &[option, 1],
            &mac.unwrap_or_default().0,
        ];
        message.iter_mut().zip(fields.into_iter().flatten()).for_each(|(to, from)| *to = *from);
        message
    }
}

/// The hardware address in an option of that kind (RFC 4861 4.6.1). An option
/// without length makes the whole message void.
fn link_layer_address(mut options: &[u8], wanted: u8) -> Result<Option<EthernetAddress>, WireError> {
    let mut found = None;
    while let [kind, units, ..] = options {
        let len = usize::from(*units) * 8;
        let Some((option, rest)) = options.split_at_checked(len).filter(|_| len > 0) else {
            return Err(WireError::Malformed);
        };
        if *kind == wanted && len == 8 {
            found = Some(EthernetAddress(reader::array(option, 2)?));
        }
        options = rest;
    }
    if options.is_empty() { Ok(found) } else { Err(WireError::Malformed) }
}

/// Writes a message with its hardware address as a whole frame. `header` has its
/// hop limit set to [`NDP_HOP_LIMIT`]. Returns the frame's length, or zero when
/// `buf` is too small.
pub fn emit_ndp_frame(buf: &mut [u8], header: &FrameHeader, message: &NeighbourMessage) -> usize {
    let total = header.len() + MESSAGE_LEN;
    let Some(frame) = buf.get_mut(..total) else { return 0 };
    let Some(rest) = header.emit(frame, 0, PROTOCOL_ICMPV6, MESSAGE_LEN as u16) else { return 0 };
    let Some(body) = rest.first_chunk_mut::<MESSAGE_LEN>() else { return 0 };
    *body = message.emit();
    let sum = Sum::pseudo_header(header.src, header.dst, PROTOCOL_ICMPV6, MESSAGE_LEN as u16).plus(body);
    let [_, _, high, low, ..] = body;
    [*high, *low] = sum.checksum();
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ChecksumPolicy, Frame, Icmpv6Message, parse_frame};
    use proptest::prelude::*;

    const MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);

    fn address(text: &str) -> IpAddress {
        text.parse::<Ipv6Addr>().unwrap().into()
    }

    fn header(src: &str, dst: &str) -> FrameHeader {
        FrameHeader {
            src_mac: MAC,
            dst_mac: EthernetAddress([2, 0, 0, 0, 0, 2]),
            src: address(src),
            dst: address(dst),
            tos: 0,
            ttl: NDP_HOP_LIMIT,
            flow_label: 0,
        }
    }

    fn frame(header: &FrameHeader, message: &NeighbourMessage) -> Vec<u8> {
        let mut buf = vec![0; 100];
        let len = emit_ndp_frame(&mut buf, header, message);
        buf.truncate(len);
        buf
    }

    fn parsed(frame: &[u8], policy: ChecksumPolicy) -> Result<Icmpv6Message, WireError> {
        match parse_frame(frame, policy)? {
            Frame::Icmpv6(frame) => Ok(frame.message),
            other => panic!("{other:?}"),
        }
    }

    fn question() -> NeighbourMessage {
        NeighbourMessage::Solicitation { target: address("fd00::2"), source_mac: Some(MAC) }
    }

    fn answer() -> NeighbourMessage {
        let target = address("fd00::1");
        NeighbourMessage::Advertisement { target, target_mac: Some(MAC), solicited: true, overrides: true }
    }

    #[test]
    fn messages_survive_the_round_trip_with_a_right_sum() {
        for message in [question(), answer()] {
            let bytes = frame(&header("fd00::1", "fd00::2"), &message);
            assert_eq!(bytes.len(), 14 + 40 + 32);
            assert_eq!(parsed(&bytes, ChecksumPolicy::Verify), Ok(Icmpv6Message::Neighbour(message)));
        }
    }

    #[test]
    fn the_group_of_an_address_has_its_last_24_bits() {
        let (group, mac) = solicited_node(address("2001:db8::12:3456"));
        assert_eq!(group, address("ff02::1:ff12:3456"));
        assert_eq!(mac, EthernetAddress([0x33, 0x33, 0xff, 0x12, 0x34, 0x56]));
    }

    #[test]
    fn what_has_passed_a_router_is_no_neighbours() {
        let header = FrameHeader { ttl: 254, ..header("fd00::1", "fd00::2") };
        assert_eq!(parsed(&frame(&header, &question()), ChecksumPolicy::Verify), Err(WireError::Malformed));
    }

    #[test]
    fn a_message_that_contradicts_itself_is_refused() {
        let contradictions = [
            (header("::", "ff02::1:ff00:2"), question()),
            (header("fd00::1", "ff02::1"), answer()),
            (
                header("fd00::1", "fd00::2"),
                NeighbourMessage::Solicitation { target: address("ff02::1"), source_mac: None },
            ),
        ];
        for (header, message) in contradictions {
            let bytes = frame(&header, &message);
            assert_eq!(parsed(&bytes, ChecksumPolicy::Verify), Err(WireError::Malformed), "{message:?}");
        }
    }

    #[test]
    fn options_without_length_or_end_make_a_message_void() {
        let mut bytes = frame(&header("fd00::1", "fd00::2"), &question());
        for units in [0, 2] {
            bytes[54 + 25] = units;
            assert_eq!(parsed(&bytes, ChecksumPolicy::Trust), Err(WireError::Malformed));
        }
        bytes[54 + 25] = 1;
        bytes[54 + 24] = 14;
        let none = NeighbourMessage::Solicitation { target: address("fd00::2"), source_mac: None };
        assert_eq!(parsed(&bytes, ChecksumPolicy::Trust), Ok(Icmpv6Message::Neighbour(none)), "a nonce");
    }

    #[test]
    fn a_buffer_that_is_too_small_is_left_alone() {
        assert_eq!(emit_ndp_frame(&mut [0; 85], &header("fd00::1", "fd00::2"), &question()), 0);
    }

    proptest! {
        #[test]
        fn no_options_make_the_parser_panic(
            kind in 135u8..137, rest in proptest::collection::vec(prop_oneof![0u8..4, any::<u8>()], 0..80),
        ) {
            let ip = Ipv6Repr {
                src: "fd00::1".parse().unwrap(),
                dst: "fd00::2".parse().unwrap(),
                traffic_class: 0,
                flow_label: 0,
                hop_limit: NDP_HOP_LIMIT,
                protocol: PROTOCOL_ICMPV6,
                payload_len: 0,
            };
            let _ = NeighbourMessage::parse(&[&[kind, 0][..], &rest].concat(), &ip);
        }
    }
}
