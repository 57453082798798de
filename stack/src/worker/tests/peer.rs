//! A worker at one end of a wire and a peer at the other that makes each frame
//! by hand, in virtual time.

use std::net::SocketAddr;

use tpa_tcp::wire::{
    ChecksumPolicy, Ecn, EthernetAddress, Frame, FrameHeader, Ports, TcpFlags, TcpFrame, TcpOptions, TcpRepr,
    Timestamps, emit_tcp_frame, parse_frame,
};
use tpa_tcp::{Duration, Instant, SeqNum, Transmit};

use super::{SERVER, v4, worker};
use crate::SocketOptions;
use crate::clock;
use crate::device::wire::{WireDevice, wire};
use crate::device::{Batch, Device};
use crate::handle::Handle;
use crate::packet::Packet;
use crate::worker::Worker;

pub const CLIENT: SocketAddr = v4(2, 40_000);
const SERVER_MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);
pub const CLIENT_MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 2]);

/// Sequence number of the peer's SYNs.
pub const IRS: SeqNum = SeqNum(1_000_000);

/// What the worker has sent.
pub struct Received {
    pub frame: TcpFrame,
    pub bytes: Vec<u8>,
}

impl Received {
    pub fn tcp(&self) -> &TcpRepr {
        &self.frame.tcp
    }

    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.frame.payload.clone()]
    }
}

/// Both ends.
pub struct Bench {
    pub server: Worker,
    pub device: WireDevice,
    pub now: Instant,
}

/// A segment of the peer's, to be completed with struct update syntax.
pub fn segment<'a>(flags: TcpFlags, seq: SeqNum, ack: SeqNum, payload: &'a [u8]) -> Transmit<'a> {
    Transmit {
        seq,
        ack,
        flags,
        window: 60_000,
        urgent: 0,
        options: TcpOptions::default(),
        payload: (payload, &[]),
        is_retransmit: false,
        ecn: Ecn::NotEct,
    }
}

pub fn syn() -> Transmit<'static> {
    let options = TcpOptions {
        mss: Some(1460),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some(Timestamps { tsval: 77, tsecr: 0 }),
        ..TcpOptions::default()
    };
    Transmit { options, ..segment(TcpFlags::SYN, IRS, SeqNum(0), b"") }
}

/// The handshake's last ACK, with data.
pub fn last_ack<'a>(syn_ack: &Received, payload: &'a [u8]) -> Transmit<'a> {
    let tcp = syn_ack.tcp();
    let timestamps = tcp.options.timestamps.map(|ours| Timestamps { tsval: 78, tsecr: ours.tsval });
    Transmit {
        options: TcpOptions { timestamps, ..TcpOptions::default() },
        ..segment(TcpFlags::ACK, tcp.ack, tcp.seq + 1, payload)
    }
}

impl Bench {
    pub fn new() -> Self {
        let (a, device) = wire(1500);
        Self { server: worker(a, 1), device, now: clock::now() }
    }

    /// Puts a frame onto the wire and runs the worker.
    pub fn send_frame(&mut self, bytes: &[u8]) -> Vec<Received> {
        let mut batch = Batch::new();
        batch.push(Packet::copy_of(bytes));
        self.device.tx_burst(&mut batch);
        self.run()
    }

    /// Sends a segment from an address of the peer's; returns the answers.
    pub fn send_from(&mut self, from: SocketAddr, segment: &Transmit<'_>) -> Vec<Received> {
        let bytes = frame(from, SERVER, segment);
        self.send_frame(&bytes)
    }

    pub fn send(&mut self, segment: &Transmit<'_>) -> Vec<Received> {
        self.send_from(CLIENT, segment)
    }

    /// Runs the worker; returns the TCP segments that it has sent.
    pub fn run(&mut self) -> Vec<Received> {
        let mut batch = Batch::new();
        let mut received = Vec::new();
        while self.server.lock().round_at(self.now) > 0 {}
        loop {
            self.device.rx_burst(&mut batch);
            if batch.is_empty() {
                return received;
            }
            for packet in batch.drain(..) {
                let bytes = packet.bytes().to_vec();
                if let Ok(Frame::Tcp(frame)) = parse_frame(&bytes, ChecksumPolicy::Verify) {
                    received.push(Received { frame, bytes });
                }
            }
        }
    }

    /// Opens a connection from the peer's address and accepts it; the numbers
    /// that come next are [`IRS`] + 1 and the returned one.
    pub fn accepted(&mut self, listener: Handle, syn: &Transmit<'_>) -> (Handle, SeqNum) {
        let syn_ack = self.ask(syn);
        self.send(&last_ack(&syn_ack, b""));
        (self.server.lock().accept(listener).unwrap(), syn_ack.tcp().seq + 1)
    }

    /// Opens a connection to the peer; returns its SYN.
    pub fn connect(&mut self) -> (Handle, Received) {
        let handle = {
            let mut server = self.server.lock();
            server.neighbours.learn(CLIENT.ip().into(), CLIENT_MAC);
            server.connect(None, CLIENT, SocketOptions::default()).unwrap()
        };
        (handle, only(self.run()))
    }

    /// Lets time pass and runs the worker.
    pub fn pass(&mut self, millis: u64) -> Vec<Received> {
        self.now += Duration::from_millis(millis);
        self.run()
    }

    /// The one answer to a segment.
    pub fn ask(&mut self, segment: &Transmit<'_>) -> Received {
        only(self.send(segment))
    }
}

/// The only one of what was received.
pub fn only(mut received: Vec<Received>) -> Received {
    assert_eq!(received.len(), 1);
    received.remove(0)
}

/// A frame from the peer's hardware address to the worker's.
pub fn frame(from: SocketAddr, to: SocketAddr, segment: &Transmit<'_>) -> Vec<u8> {
    let header = FrameHeader {
        src_mac: CLIENT_MAC,
        dst_mac: SERVER_MAC,
        src: from.ip().into(),
        dst: to.ip().into(),
        tos: 0,
        ttl: 64,
        flow_label: 0,
    };
    let mut bytes = vec![0; 2000];
    let ports = Ports { src: from.port(), dst: to.port() };
    let len = emit_tcp_frame(&mut bytes, &header, 0, segment, ports, true);
    bytes.truncate(len);
    bytes
}
