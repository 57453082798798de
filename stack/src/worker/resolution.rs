//! Hardware addresses of neighbours: through the kernel where it has the
//! interface, else by ARP (RFC 826) and neighbour discovery (RFC 4861) of our own.
//!
//! The configuration vouches for addresses that are ours alone: nobody is asked
//! whether they are free (RFC 4862 5.4), and there is no router discovery.

use std::net::{Ipv4Addr, Ipv6Addr};

use tpa_tcp::Error;
use tpa_tcp::wire::{
    ArpOperation, ArpRepr, EthernetAddress, FrameHeader, Icmpv6Frame, IpAddress, NDP_HOP_LIMIT,
    NeighbourMessage, emit_arp_frame, emit_ndp_frame, solicited_node,
};

use crate::device::Device;
use crate::host;
use crate::identity::Network;
use crate::neighbour::Resolution;
use crate::worker::core::Core;
use crate::worker::socket::Socket;

/// The group of all hosts of a link (RFC 4291 2.7.1), and its hardware address.
const ALL_NODES: IpAddress = IpAddress::from_v6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));
const ALL_NODES_MAC: EthernetAddress = EthernetAddress([0x33, 0x33, 0, 0, 0, 1]);

impl Core {
    /// The hardware address for a stream, or `None` after asking for it: the
    /// stream comes back when it is known.
    pub fn peer_mac(&mut self, index: u32) -> Option<EthernetAddress> {
        let Some(Socket::Stream(stream)) = self.sockets.at(index) else { return None };
        if stream.peer_mac.is_some() {
            return stream.peer_mac;
        }
        let next_hop = stream.next_hop;
        stream.dirty = false;
        match self.neighbours.resolve(next_hop, index, self.now) {
            Resolution::Known(mac) => {
                if let Some(Socket::Stream(stream)) = self.sockets.at(index) {
                    stream.peer_mac = Some(mac);
                    stream.dirty = true;
                }
                Some(mac)
            }
            Resolution::Ask => {
                self.ask(next_hop);
                None
            }
            Resolution::Waiting => None,
        }
    }

    /// Asks for a neighbour's hardware address: ourselves, or through the
    /// kernel, whose answer the control thread brings.
    fn ask(&mut self, address: IpAddress) {
        match &self.identity.network {
            Network::Kernel { ifindex, .. } => match host::resolve(*ifindex, address) {
                Ok(Some(mac)) => {
                    let streams = self.neighbours.learn(address, EthernetAddress(mac));
                    self.wake_streams(address, streams, Some(EthernetAddress(mac)));
                }
                Ok(None) => {}
                Err(error) => log::debug!("cannot ask the kernel for neighbour {address}: {error}"),
            },
            Network::Own(own) => {
                let source = own.iter().map(|own| own.address).find(|own| own.is_like(address));
                let Some(source) = source else { return };
                match (source.to_v4(), address.to_v4()) {
                    (Some(source), Some(address)) => self.ask_by_arp(source, address),
                    _ => self.solicit(source, address),
                }
            }
        }
    }

    fn ask_by_arp(&mut self, source: Ipv4Addr, target: Ipv4Addr) {
        let request = ArpRepr {
            operation: ArpOperation::Request,
            sender_mac: self.identity.mac,
            sender_ip: source,
            target_mac: EthernetAddress([0; 6]),
            target_ip: target,
        };
        self.counters.arp_requests_sent.add(1);
        self.emit_arp(&request, EthernetAddress::BROADCAST);
    }

    /// RFC 4861 7.2.2.
    fn solicit(&mut self, source: IpAddress, target: IpAddress) {
        let (group, mac) = solicited_node(target);
        let question = NeighbourMessage::Solicitation { target, source_mac: Some(self.identity.mac) };
        self.counters.nd_solicitations_sent.add(1);
        self.emit_ndp(source, group, mac, &question);
    }

    /// Asks those again who have not answered; the streams of those who never do
    /// fail.
    pub fn ask_again(&mut self) {
        let mut again = Vec::new();
        let unreachable = self.neighbours.overdue(self.now, |address| again.push(address));
        for address in again {
            self.ask(address);
        }
        for (neighbour, streams) in unreachable {
            self.wake_streams(neighbour, streams, None);
        }
    }

    /// ARP (RFC 826).
    pub fn input_arp(&mut self, arp: &ArpRepr) {
        if !self.device.info().own_neighbours {
            return;
        }
        self.counters.arp_received.add(1);
        let (sender, target) = (IpAddress::from(arp.sender_ip), IpAddress::from(arp.target_ip));
        let for_us = self.identity.owns(target);
        // RFC 826: a request for us, or an answer, tells where the sender is.
        let woken = if for_us {
            self.neighbours.learn(sender, arp.sender_mac)
        } else {
            self.neighbours.refresh(sender, arp.sender_mac)
        };
        self.wake_streams(sender, woken, Some(arp.sender_mac));
        if for_us && arp.operation == ArpOperation::Request {
            self.counters.arp_replies_sent.add(1);
            let reply = ArpRepr {
                operation: ArpOperation::Reply,
                sender_mac: self.identity.mac,
                sender_ip: arp.target_ip,
                target_mac: arp.sender_mac,
                target_ip: arp.sender_ip,
            };
            self.emit_arp(&reply, arp.sender_mac);
        }
    }

    /// Neighbour discovery (RFC 4861 7.2).
    pub fn input_ndp(&mut self, frame: &Icmpv6Frame, message: &NeighbourMessage) {
        if !self.device.info().own_neighbours {
            return;
        }
        self.counters.nd_received.add(1);
        match *message {
            NeighbourMessage::Solicitation { target, source_mac } if self.identity.owns(target) => {
                self.advertise(frame, target, source_mac);
            }
            NeighbourMessage::Advertisement { target, target_mac: Some(mac), .. } => {
                let woken = self.neighbours.refresh(target, mac);
                self.wake_streams(target, woken, Some(mac));
            }
            _ => {}
        }
    }

    /// Answers who asks for an address of ours, and learns the asker's (RFC 4861
    /// 7.2.3, 7.2.4). One who asks without an address of its own wants the same
    /// one as we have, and all are told.
    fn advertise(&mut self, frame: &Icmpv6Frame, target: IpAddress, source_mac: Option<EthernetAddress>) {
        let solicited = !frame.src.is_unspecified();
        let mac = source_mac.unwrap_or(frame.src_mac);
        if solicited {
            let woken = self.neighbours.learn(frame.src, mac);
            self.wake_streams(frame.src, woken, Some(mac));
        }
        let (to, mac) = if solicited { (frame.src, mac) } else { (ALL_NODES, ALL_NODES_MAC) };
        let answer = NeighbourMessage::Advertisement {
            target,
            target_mac: Some(self.identity.mac),
            solicited,
            overrides: true,
        };
        self.counters.nd_advertisements_sent.add(1);
        self.emit_ndp(target, to, mac, &answer);
    }

    /// Streams that waited for a neighbour go on, or fail without one.
    pub fn wake_streams(&mut self, neighbour: IpAddress, streams: Vec<u32>, mac: Option<EthernetAddress>) {
        for index in streams {
            let Some(Socket::Stream(stream)) = self.sockets.at(index) else { continue };
            if stream.next_hop != neighbour {
                // The place is another stream's by now.
                continue;
            }
            if let Some(mac) = mac {
                stream.peer_mac = Some(mac);
            } else {
                stream.connection.on_unreachable(Error::HostUnreachable);
            }
            self.settle(index);
        }
    }

    /// Sends an ARP packet.
    pub fn emit_arp(&mut self, arp: &ArpRepr, to: EthernetAddress) {
        let Some(mut packet) = self.packet() else { return };
        let len = emit_arp_frame(packet.buffer_mut(), to, arp);
        packet.set_len(len);
        self.tx.push(packet);
    }

    fn emit_ndp(
        &mut self,
        source: IpAddress,
        to: IpAddress,
        mac: EthernetAddress,
        message: &NeighbourMessage,
    ) {
        let Some(mut packet) = self.packet() else { return };
        let header = FrameHeader { ttl: NDP_HOP_LIMIT, ..self.header(source, to, mac) };
        let len = emit_ndp_frame(packet.buffer_mut(), &header, message);
        packet.set_len(len);
        self.tx.push(packet);
    }
}
