//! Passive opens as Linux does them: a SYN queue of small requests, an accept
//! queue of established connections, and SYN cookies when the former is full
//! (`tcp_conn_request`, `tcp_check_req`; RFC 4987).
//!
//! Both queues of a listener hold backlog + 1 entries at most
//! (`inet_csk_reqsk_queue_is_full`, `sk_acceptq_is_full`).

use tpa_tcp::cookie::COOKIE_LIFETIME;
use tpa_tcp::wire::{EthernetAddress, TcpFlags, TcpFrame};
use tpa_tcp::{Chunk, Connection, Listening, Progress, Request, SeqNum, Transmit, listening};

use crate::handle::Handle;
use crate::packet::Packet;
use crate::worker::core::Core;
use crate::worker::interest::Watches;
use crate::worker::socket::{FlowKey, Listener, Owner, Socket, Stream};

/// Half-open connections of one listener without SYN cookies, whatever its
/// backlog: three quarters of Linux's `tcp_max_syn_backlog` of 4096, as it
/// leaves the last one to peers that it knows.
const MOST_WITHOUT_COOKIES: u32 = 3072;

/// SYN-ACKs that a request gets in a crowded queue at the least.
const LEAST_RETRIES: u32 = 2;

/// A connection in SYN-RECEIVED.
pub struct HalfOpen {
    pub request: Request,
    pub listener: Handle,
    pub peer_mac: EthernetAddress,
}

impl Listener {
    /// Linux's `sk_acceptq_is_full`.
    pub fn accept_queue_is_full(&self) -> bool {
        self.queue.len() > self.backlog as usize
    }

    /// Linux's `inet_csk_reqsk_queue_is_full`.
    fn syn_queue_is_full(&self, cookies: bool) -> bool {
        self.half_open > self.backlog || (!cookies && self.half_open >= MOST_WITHOUT_COOKIES)
    }

    /// SYN-ACK retransmissions that a request may have. While the queue is
    /// more than half full, the older ones leave early, so that half of the
    /// room stays for young ones (Linux `reqsk_timer_handler`).
    fn synack_retries(&self, configured: u32) -> u32 {
        let mut retries = configured;
        if self.half_open * 2 > self.backlog.max(8) {
            let mut young = self.young * 2;
            while retries > LEAST_RETRIES && self.half_open >= young {
                retries -= 1;
                young = young.saturating_mul(2);
            }
        }
        retries
    }
}

impl Core {
    /// A segment for a listener, of a flow that nothing is known of (RFC 9293
    /// 3.10.7.2).
    pub fn input_listen(&mut self, listener: u32, frame: &TcpFrame, packet: Packet, key: FlowKey) {
        match listening(&frame.tcp) {
            // A SYN with a FIN has no use but to get past filters; Linux drops it.
            Listening::Open if frame.tcp.flags.contains(TcpFlags::FIN) => {}
            Listening::Open => self.open_passively(listener, frame, key, None),
            Listening::Reset => self.input_cookie(listener, frame, packet, key),
            Listening::Ignore => {}
        }
    }

    /// A SYN for a listener. `isn` is given where the flow's last connection
    /// was in TIME-WAIT: such a peer is real, and no limit of the SYN queue
    /// holds for it.
    pub fn open_passively(&mut self, index: u32, frame: &TcpFrame, key: FlowKey, isn: Option<SeqNum>) {
        let cookies = self.settings.syn_cookies;
        let Some(handle) = self.sockets.handle_at(index) else { return };
        let Some(Socket::Listener(listener)) = self.sockets.at(index) else { return };
        let full = isn.is_none() && listener.syn_queue_is_full(cookies);
        if full && !cookies {
            return self.counters.syn_queue_drops.add(1);
        }
        if listener.accept_queue_is_full() {
            // Say nothing: the peer tries again.
            return self.counters.listen_overflows.add(1);
        }
        if full {
            return self.send_cookie(index, frame, key);
        }
        let options = listener.options.clone();
        (listener.half_open, listener.young) = (listener.half_open + 1, listener.young + 1);
        let mut params = self.params(key);
        params.isn = isn.unwrap_or(params.isn);
        params.mss = options.limit_mss(params.mss);
        let mut request = Request::new(params, options.rcvbuf, &frame.tcp);
        if let Some(algorithm) = options.congestion {
            request.set_congestion(algorithm);
        }
        let syn_ack = request.syn_ack(&self.tcp, self.now);
        let deadline = request.deadline();
        self.half_open.insert(key, deadline, HalfOpen { request, listener: handle, peer_mac: frame.src_mac });
        self.counters.half_open_now.set(self.half_open.len() as u64);
        self.reply(key, frame.src_mac, syn_ack);
    }

    /// Sends a segment that comes from no stream. Resets are limited like those
    /// for strays.
    pub fn reply(&mut self, key: FlowKey, mac: EthernetAddress, segment: Option<Transmit<'_>>) {
        let Some(segment) = segment else { return };
        if segment.is_retransmit {
            self.counters.tx_retransmits.add(1);
        }
        if segment.flags.contains(TcpFlags::RST) {
            if !self.loops(key.remote_address()) && !self.resets.allow(self.now) {
                return;
            }
            self.counters.resets_sent.add(1);
        }
        self.emit_alone(key, mac, &segment);
    }

    /// The SYN queue is full: the SYN-ACK itself remembers the request.
    fn send_cookie(&mut self, index: u32, frame: &TcpFrame, key: FlowKey) {
        let now = self.now;
        let mut params = self.params(key);
        let Some(Socket::Listener(listener)) = self.sockets.at(index) else { return };
        if listener.cookie_sent_at.is_none() {
            log::warn!("many half-open connections on {}: sending SYN cookies", listener.local);
        }
        listener.cookie_sent_at = Some(now);
        let rcvbuf = listener.options.rcvbuf;
        params.mss = listener.options.limit_mss(params.mss);
        let syn_ack = self.cookies.answer(&self.tcp, params, rcvbuf, &key, &frame.tcp, now);
        self.counters.syn_cookies_sent.add(1);
        self.reply(key, frame.src_mac, syn_ack);
    }

    /// An ACK out of nowhere: it may redeem a cookie, if the listener has sent
    /// any of late; otherwise it is answered as any stray segment.
    fn input_cookie(&mut self, index: u32, frame: &TcpFrame, packet: Packet, key: FlowKey) {
        let now = self.now;
        let Some(handle) = self.sockets.handle_at(index) else { return };
        let Some(Socket::Listener(listener)) = self.sockets.at(index) else { return };
        if listener.cookie_sent_at.is_none_or(|at| now - at > COOKIE_LIFETIME) {
            return self.send_reset(frame);
        }
        let (options, full) = (listener.options.clone(), listener.accept_queue_is_full());
        let mut params = self.params(key);
        params.mss = options.limit_mss(params.mss);
        let Some(mut request) = self.cookies.redeem(params, options.rcvbuf, &key, &frame.tcp, now) else {
            self.counters.syn_cookies_failed.add(1);
            return self.send_reset(frame);
        };
        if let Some(algorithm) = options.congestion {
            request.set_congestion(algorithm);
        }
        if full {
            return self.counters.listen_overflows.add(1);
        }
        let payload = self.payload_of(frame, packet);
        if let Progress::Open(connection) = request.on_segment(&self.tcp, &frame.tcp, payload, now) {
            self.counters.syn_cookies_accepted.add(1);
            self.enqueue(connection, handle, key, frame.src_mac);
        }
    }

    /// A segment of a half-open connection.
    pub fn input_half_open(&mut self, frame: &TcpFrame, packet: Packet, key: FlowKey) {
        let payload = self.payload_of(frame, packet);
        let Some(half_open) = self.half_open.get_mut(key) else { return };
        let listener = half_open.listener;
        match half_open.request.on_segment(&self.tcp, &frame.tcp, payload, self.now) {
            Progress::HalfOpen(answer) => self.reply(key, frame.src_mac, answer),
            Progress::Over => {
                self.counters.resets_received.add(u64::from(frame.tcp.flags.contains(TcpFlags::RST)));
                self.forget_half_open(key);
            }
            Progress::Open(connection) => self.handshake_done(connection, listener, key, frame.src_mac),
        }
    }

    /// The handshake's last ACK. When the accept queue is full it counts as
    /// lost: the SYN-ACK goes out again and brings another one (Linux with
    /// `tcp_abort_on_overflow` = 0).
    fn handshake_done(
        &mut self,
        connection: Connection<Packet>,
        listener: Handle,
        key: FlowKey,
        mac: EthernetAddress,
    ) {
        let full = match self.sockets.get(listener) {
            Some(Socket::Listener(listener)) => listener.accept_queue_is_full(),
            _ => true,
        };
        if full {
            return self.counters.listen_overflows.add(1);
        }
        self.forget_half_open(key);
        self.enqueue(connection, listener, key, mac);
    }

    /// Takes a half-open connection out of its listener's SYN queue.
    pub fn forget_half_open(&mut self, key: FlowKey) {
        let Some(half_open) = self.half_open.remove(key) else { return };
        self.counters.half_open_now.set(self.half_open.len() as u64);
        self.uncount(&half_open);
    }

    fn uncount(&mut self, half_open: &HalfOpen) {
        if let Some(Socket::Listener(listener)) = self.sockets.get_mut(half_open.listener) {
            listener.half_open -= 1;
            listener.young -= u32::from(half_open.request.retries() == 0);
        }
    }

    /// Puts an established connection into its listener's accept queue.
    fn enqueue(
        &mut self,
        connection: Connection<Packet>,
        handle: Handle,
        key: FlowKey,
        peer_mac: EthernetAddress,
    ) {
        let Some(Socket::Listener(listener)) = self.sockets.get(handle) else { return };
        let stream = Stream {
            connection,
            flow: key,
            next_hop: key.remote_address(),
            peer_mac: Some(peer_mac),
            owner: Owner::Queue,
            dirty: false,
            timer_at: None,
            active: false,
            holds_port: false,
            loops: self.loops(key.remote_address()),
            established: false,
            ident: 0,
            options: listener.options.clone(),
            watches: Watches::new(),
        };
        let Some(index) = self.insert_stream(stream, key) else { return };
        let Some(accepted) = self.sockets.handle_at(index) else { return };
        if let Some(Socket::Listener(listener)) = self.sockets.get_mut(handle) {
            listener.queue.push_back(accepted);
            self.stirred = true;
            self.interest.notify(&listener.watches, libc::EPOLLIN as u32);
        }
        self.settle(index);
    }

    /// SYN-ACKs that have not been answered in time.
    pub fn run_half_open_timers(&mut self) {
        while let Some((key, mut half_open)) = self.half_open.pop_due(self.now) {
            let limit = match self.sockets.get(half_open.listener) {
                Some(Socket::Listener(listener)) => listener.synack_retries(self.tcp.synack_retries),
                _ => 0,
            };
            let was_young = half_open.request.retries() == 0;
            match half_open.request.on_timer(&self.tcp, limit, self.now) {
                Some(syn_ack) => {
                    if was_young
                        && let Some(Socket::Listener(listener)) = self.sockets.get_mut(half_open.listener)
                    {
                        listener.young -= 1;
                    }
                    let mac = half_open.peer_mac;
                    self.half_open.insert(key, half_open.request.deadline(), half_open);
                    self.reply(key, mac, Some(syn_ack));
                }
                None => {
                    self.counters.half_open_expired.add(1);
                    self.counters.half_open_now.set(self.half_open.len() as u64);
                    self.uncount(&half_open);
                }
            }
        }
    }

    /// The payload of a frame, if it has any.
    pub fn payload_of(&self, frame: &TcpFrame, packet: Packet) -> Option<Chunk<Packet>> {
        (!frame.payload.is_empty()).then(|| super::input::chunk(packet, frame.payload.clone(), self.scarce))
    }
}
