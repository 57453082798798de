//! From a received frame to the socket that it is for.

use std::hash::BuildHasher;
use std::ops::Range;

use tpa_tcp::wire::{ChecksumPolicy, Frame, IpAddress, TcpFlags, TcpFrame, WireError, parse_frame};
use tpa_tcp::{Chunk, Params, State, reset_for};

use crate::device::Device;
use crate::options::SocketOptions;
use crate::packet::{Packet, PacketFlags};
use crate::worker::core::Core;
use crate::worker::socket::{FlowKey, Listener, Owner, Socket, Stream};

/// The payload of a frame, in the device's buffer or, when those are scarce,
/// in a copy of its own.
pub fn chunk(packet: Packet, range: Range<usize>, scarce: bool) -> Chunk<Packet> {
    if scarce {
        let payload = Packet::copy_of(packet.bytes().get(range).unwrap_or_default());
        let range = 0..payload.len();
        Chunk { buf: payload, range }
    } else {
        Chunk { buf: packet, range }
    }
}

impl Core {
    /// Takes one frame in.
    pub fn input(&mut self, packet: Packet) {
        let info = self.device.info();
        let policy = if packet.flags.contains(PacketFlags::CHECKSUM_GOOD) || info.lossless_memory {
            ChecksumPolicy::Trust
        } else if info.partial_checksums {
            ChecksumPolicy::VerifyOrPartial
        } else {
            ChecksumPolicy::Verify
        };
        match parse_frame(packet.bytes(), policy) {
            Ok(Frame::Tcp(frame)) => self.input_tcp(frame, packet),
            Ok(Frame::Arp(arp)) => self.input_arp(&arp),
            Ok(Frame::Icmpv4(icmp)) => self.input_icmp(&icmp, &packet),
            Ok(Frame::Icmpv6(icmp)) => self.input_icmpv6(&icmp, &packet),
            Ok(Frame::Other) => self.counters.rx_not_ours.add(1),
            Err(WireError::IpChecksum | WireError::PayloadChecksum) => self.counters.rx_bad_checksum.add(1),
            Err(_) => self.counters.rx_malformed.add(1),
        }
    }

    fn input_tcp(&mut self, frame: TcpFrame, packet: Packet) {
        self.counters.rx_segments.add(1);
        self.counters.payload_rx.add(frame.payload.len() as u64);
        let tcp = &frame.tcp;
        let key = FlowKey::new(frame.dst, tcp.dst_port, frame.src, tcp.src_port);
        let Some(&index) = self.flows.get(&key) else {
            return self.input_unknown_flow(&frame, packet, key);
        };
        let Some(Socket::Stream(stream)) = self.sockets.at(index) else { return };
        let looped = packet.flags.contains(PacketFlags::LOOPED);
        if stream.loops != looped {
            // Nobody outside has a part in it.
            return self.counters.rx_not_ours.add(1);
        }
        if stream.owner == Owner::Nobody && stream.connection.may_reuse(tcp) {
            return self.reopen(index, &frame, key);
        }
        if tcp.flags.contains(TcpFlags::RST) {
            self.counters.resets_received.add(1);
        }
        // The peer's address may change under us (a failover); its segments tell.
        if !frame.src_mac.is_multicast() {
            stream.peer_mac = Some(frame.src_mac);
        }
        let scarce = self.scarce && !looped;
        let chunk = (!frame.payload.is_empty()).then(|| chunk(packet, frame.payload.clone(), scarce));
        stream.connection.on_segment(tcp, chunk, self.now);
        self.settle(index);
    }

    /// A new connection between two ends whose last one is in TIME-WAIT: the old
    /// one gives way, and the new one's numbers begin beyond it (RFC 6191).
    fn reopen(&mut self, index: u32, frame: &TcpFrame, key: FlowKey) {
        let Some(Socket::Stream(stream)) = self.sockets.at(index) else { return };
        let isn = stream.connection.next_isn_after();
        stream.connection.abort(self.now);
        self.forget_flow(index, key);
        self.settle(index);
        if let Some(listener) = self.listener_of(key) {
            self.open_passively(listener, frame, key, Some(isn));
        } else {
            self.send_reset(frame);
        }
    }

    fn input_unknown_flow(&mut self, frame: &TcpFrame, packet: Packet, key: FlowKey) {
        let looped = packet.flags.contains(PacketFlags::LOOPED);
        if looped != self.loops(frame.src) {
            return self.counters.rx_not_ours.add(1);
        }
        if self.half_open.get_mut(key).is_some() {
            return self.input_half_open(frame, packet, key);
        }
        if self.time_wait.get_mut(key).is_some() {
            return self.input_time_wait(frame, packet, key);
        }
        if !looped && !self.is_answerable(frame) {
            return self.counters.rx_not_ours.add(1);
        }
        match self.listener_of(key) {
            Some(listener) => self.input_listen(listener, frame, packet, key),
            None => self.send_reset(frame),
        }
    }

    /// Whether a segment out of nowhere is for us alone, and from an address
    /// that one peer can have (RFC 1122 3.2.1.3, 4.2.3.10; our own would be the
    /// land attack).
    fn is_answerable(&self, frame: &TcpFrame) -> bool {
        let src = frame.src;
        let is_peer = match src.to_v4() {
            Some(v4) => !v4.is_broadcast() && v4.octets()[0] != 0,
            None => !src.is_unspecified(),
        };
        let is_peer = is_peer && !src.is_multicast() && !src.is_loopback();
        let is_unicast = !frame.dst_mac.is_multicast() && !frame.src_mac.is_multicast();
        is_peer && is_unicast && self.identity.owns(frame.dst) && !self.identity.owns(src)
    }

    /// The listener of a new flow. Those that share an address (`SO_REUSEPORT`) share
    /// the flows by their hash.
    pub fn listener_of(&self, key: FlowKey) -> Option<u32> {
        let mut group = self.listeners_at(key.local_address(), key.local_port());
        match group.clone().count() {
            0 | 1 => group.next(),
            count => group.nth(self.listeners.hasher().hash_one(key) as usize % count),
        }
    }

    /// The listeners for an address and port: those that name the address go before
    /// those for all addresses.
    pub fn listeners_at(&self, address: IpAddress, port: u16) -> impl Iterator<Item = u32> + Clone {
        let candidates = self.listeners.get(&port).map_or(&[][..], Vec::as_slice);
        let is_named = candidates.iter().any(|(bound, _)| *bound == address);
        let wanted = if is_named { address } else { address.unspecified() };
        candidates.iter().filter(move |(bound, _)| *bound == wanted).map(|(_, index)| *index)
    }

    /// Puts a stream into the table and the flow map, with its options applied.
    pub fn insert_stream(&mut self, mut stream: Stream, key: FlowKey) -> Option<u32> {
        stream.apply_options(&SocketOptions::default(), (&self.tcp, self.settings.keepalive), self.now);
        if let Some(path) = self.paths.get(stream.flow.remote_address(), self.now) {
            stream.connection.on_path_mtu(path.size, path.until);
        }
        if self.has_stale_timers() {
            self.clean_wheel();
        }
        let index = self.sockets.insert(Socket::Stream(stream))?.index() as u32;
        self.flows.insert(key, index);
        self.counters.connections_now.set(self.flows.len() as u64);
        Some(index)
    }

    /// What a new connection of this flow starts from.
    pub fn params(&self, key: FlowKey) -> Params {
        Params {
            isn: self.secret.isn(key, self.now),
            ts_offset: self.secret.timestamp_offset(key),
            mss: self.mss_to(key.remote_address()),
        }
    }

    pub fn send_reset(&mut self, frame: &TcpFrame) {
        let Some(reset) = reset_for(&frame.tcp) else { return };
        if !self.loops(frame.src) && !self.resets.allow(self.now) {
            return;
        }
        self.counters.resets_sent.add(1);
        let key = FlowKey::new(frame.dst, frame.tcp.dst_port, frame.src, frame.tcp.src_port);
        self.emit_alone(key, frame.src_mac, &reset);
    }

    /// Frees a stream that nobody holds once TCP is through with it.
    pub fn bury_if_done(&mut self, index: u32) {
        let Some(Socket::Stream(stream)) = self.sockets.at(index) else { return };
        if stream.owner != Owner::Nobody || stream.dirty {
            return;
        }
        if matches!(stream.connection.state(), State::TimeWait | State::FinWait2) {
            return self.lay_to_rest(index);
        }
        if !stream.connection.is_closed() {
            return;
        }
        let key = stream.flow;
        let port = stream.holds_port.then(|| key.local_port());
        self.forget_stream(index, key);
        if let Some(port) = port {
            self.ports.release(port, self.now);
        }
    }

    /// Takes a stream out of the table and, unless another one has its four numbers
    /// by now, out of the flows.
    pub fn forget_stream(&mut self, index: u32, key: FlowKey) {
        self.sockets.remove(index);
        self.forget_flow(index, key);
        self.counters.connections_closed.add(1);
    }

    /// Takes the four numbers of a stream out of the flows, if they are still its own.
    pub fn forget_flow(&mut self, index: u32, key: FlowKey) {
        if self.flows.get(&key) == Some(&index) {
            self.flows.remove(&key);
            self.counters.connections_now.set(self.flows.len() as u64);
        }
    }

    /// Connections that wait in a listener that closes are reset, as Linux does.
    pub fn abandon_queue(&mut self, listener: &mut Listener) {
        for handle in listener.queue.drain(..) {
            self.abort_unowned(handle.index() as u32);
        }
    }

    /// Resets a stream that the program never saw.
    pub fn abort_unowned(&mut self, index: u32) {
        let Some(Socket::Stream(stream)) = self.sockets.at(index) else { return };
        stream.owner = Owner::Nobody;
        stream.connection.abort(self.now);
        self.settle(index);
    }
}
