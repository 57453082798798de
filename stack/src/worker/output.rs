//! From a connection that has something to say to frames on the device.

use tpa_tcp::wire::{
    EchoRepr, EthernetAddress, FrameHeader, IpAddress, Ports, emit_echo_reply, emit_tcp_frame,
};
use tpa_tcp::{State, Transmit};

use crate::device::Device;
use crate::packet::Packet;
use crate::worker::core::Core;
use crate::worker::loopback;
use crate::worker::socket::{FlowKey, Socket};

/// Linux's `net.ipv4.ip_default_ttl`.
const TTL: u8 = 64;

/// What became of a stream's turn to send.
enum Turn {
    /// It has said everything it may say now.
    Done,
    /// The device or its pool is full: the stream goes first next time.
    Blocked,
}

impl Core {
    /// Sends what the dirty streams have to send, as far as the device takes it.
    pub fn transmit(&mut self) {
        if self.neighbours.next_deadline().is_some_and(|at| at <= self.now) {
            self.ask_again();
        }
        while let Some(index) = self.dirty.pop_front() {
            if let Turn::Blocked = self.transmit_stream(index) {
                self.counters.tx_busy.add(1);
                self.dirty.push_front(index);
                break;
            }
        }
        self.flush();
    }

    /// Hands the batch to the device.
    pub fn flush(&mut self) {
        if !self.tx.is_empty() {
            let before = self.tx.len();
            self.device.tx_burst(&mut self.tx);
            self.counters.tx_frames.add((before - self.tx.len()) as u64);
        }
    }

    /// A packet to fill; `None` when the batch cannot move or the pool is empty.
    pub fn packet(&mut self) -> Option<Packet> {
        if self.tx.is_full() {
            self.flush();
            if self.tx.is_full() {
                return None;
            }
        }
        let packet = self.spare.take().or_else(|| self.device.alloc());
        if packet.is_none() {
            self.counters.out_of_packets.add(1);
        }
        packet
    }

    /// A packet to fill with up to `len` bytes, for ourselves or for the device.
    #[inline]
    fn packet_to(&mut self, loops: bool, len: usize) -> Option<Packet> {
        match &mut self.loopback {
            Some(loopback) if loops => Some(loopback.alloc(len)),
            _ => self.packet(),
        }
    }

    /// Takes a packet back that was not needed.
    #[inline]
    fn put_back(&mut self, packet: Packet, loops: bool) {
        if !loops {
            self.spare = Some(packet);
        }
    }

    /// Sends a packet on its way: to ourselves, or with the batch.
    #[inline]
    fn hand_over(&mut self, packet: Packet, loops: bool) {
        match &mut self.loopback {
            Some(loopback) if loops => loopback.push(packet),
            _ => self.tx.push(packet),
        }
    }

    /// The header of a frame from one of our addresses.
    pub fn header(&self, src: IpAddress, dst: IpAddress, dst_mac: EthernetAddress) -> FrameHeader {
        FrameHeader { src_mac: self.identity.mac, dst_mac, src, dst, tos: 0, ttl: TTL, flow_label: 0 }
    }

    /// The header of a segment of a flow.
    fn flow_header(&self, flow: FlowKey, mac: EthernetAddress) -> FrameHeader {
        let header = self.header(flow.local_address(), flow.remote_address(), mac);
        FrameHeader { flow_label: self.secret.flow_label(flow), ..header }
    }

    fn transmit_stream(&mut self, index: u32) -> Turn {
        let Some(mac) = self.peer_mac(index) else { return Turn::Done };
        let Some(Socket::Stream(stream)) = self.sockets.at(index) else { return Turn::Done };
        let flow = stream.flow;
        let ports = Ports { src: flow.local_port(), dst: flow.remote_port() };
        let (tos, ttl) = stream.options.services(flow.remote_address());
        let loops = stream.loops;
        let header = FrameHeader { tos, ttl, ..self.flow_header(flow, mac) };
        let peer = flow.remote_address();
        let max_payload = usize::from(if loops { loopback::mss(peer) } else { self.identity.mss(peer) });
        loop {
            let Some(mut packet) = self.packet_to(loops, loopback::FRAME) else { return Turn::Blocked };
            let Some(Socket::Stream(stream)) = self.sockets.at(index) else {
                self.put_back(packet, loops);
                return Turn::Done;
            };
            let Some(segment) = stream.connection.poll_transmit(self.now, max_payload) else {
                stream.dirty = false;
                self.put_back(packet, loops);
                self.settle(index);
                return Turn::Done;
            };
            let payload = segment.payload_len() as u64;
            let retransmit = segment.is_retransmit;
            stream.ident = stream.ident.wrapping_add(1);
            let len = emit_tcp_frame(packet.buffer_mut(), &header, stream.ident, &segment, ports, !loops);
            packet.set_len(len);
            self.hand_over(packet, loops);
            self.counters.tx_segments.add(1);
            self.counters.payload_tx.add(payload);
            if retransmit {
                self.counters.tx_retransmits.add(1);
            }
        }
    }

    /// Sends one segment that belongs to no stream.
    pub fn emit_alone(&mut self, flow: FlowKey, mac: EthernetAddress, segment: &Transmit<'_>) {
        let loops = self.loops(flow.remote_address());
        let Some(mut packet) = self.packet_to(loops, loopback::BARE_FRAME) else { return };
        let header = self.flow_header(flow, mac);
        let ports = Ports { src: flow.local_port(), dst: flow.remote_port() };
        let len = emit_tcp_frame(packet.buffer_mut(), &header, 0, segment, ports, !loops);
        packet.set_len(len);
        self.hand_over(packet, loops);
        self.counters.tx_segments.add(1);
    }

    /// Answers an echo request to one of our own addresses (RFC 792, RFC 4443 4.2).
    pub fn answer_echo(
        &mut self,
        (from, to): (IpAddress, IpAddress),
        mac: EthernetAddress,
        echo: &EchoRepr,
        request: &Packet,
    ) {
        let Some(data) = request.bytes().get(echo.data.clone()) else { return };
        let Some(mut packet) = self.packet() else { return };
        let header = self.header(from, to, mac);
        let len = emit_echo_reply(packet.buffer_mut(), &header, echo, data);
        packet.set_len(len);
        if packet.is_empty() {
            self.spare = Some(packet);
        } else {
            self.tx.push(packet);
            self.counters.icmp_echo_replies.add(1);
        }
    }

    /// A stream has new segments to send: it takes its turn.
    pub fn mark_dirty(&mut self, index: u32) {
        if let Some(Socket::Stream(stream)) = self.sockets.at(index)
            && !stream.dirty
            && stream.connection.state() != State::Closed
        {
            stream.dirty = true;
            self.dirty.push_back(index);
        }
    }
}
