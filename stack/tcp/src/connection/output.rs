//! Segments to send (RFC 9293 3.8.6.2.1, 3.7.4; RFC 5681).
//!
//! Sending is two steps: `plan`, which looks and changes nothing, and
//! `commit`, which does what was planned and builds the segment.

use super::payload::Payload;
use super::recovery::{Frto, Phase};
use super::timers::micros32;
use super::{Connection, Flags, Occupation, Pending, State};
use crate::seq::SeqNum;
use crate::time::Instant;
use crate::wire::{Ecn, SackBlocks, TcpFlags, TcpOptions};

/// What fits an IP packet behind the longest headers.
const LARGEST_PAYLOAD: usize = 65_535 - 20 - 60;

/// One segment to send. Addresses and ports are the owner's to add.
#[derive(Debug, Clone)]
pub struct Transmit<'a> {
    /// Sequence number.
    pub seq: SeqNum,
    /// Acknowledgement number; zero without `ACK`.
    pub ack: SeqNum,
    /// Control bits.
    pub flags: TcpFlags,
    /// Window field as it goes on the wire.
    pub window: u16,
    /// Urgent pointer; zero without `URG`.
    pub urgent: u16,
    /// Options.
    pub options: TcpOptions,
    /// Payload, in the two halves of the ring that holds it.
    pub payload: (&'a [u8], &'a [u8]),
    /// Payload, or a SYN, that has been sent before.
    pub is_retransmit: bool,
    /// ECN field of the IP header that it goes out with.
    pub ecn: Ecn,
}

impl Transmit<'_> {
    /// Bytes of payload.
    #[inline]
    pub fn payload_len(&self) -> usize {
        self.payload.0.len() + self.payload.1.len()
    }

    /// The same with another payload.
    #[inline]
    fn with_payload<'b>(self, payload: (&'b [u8], &'b [u8])) -> Transmit<'b> {
        let Self { seq, ack, flags, window, urgent, options, is_retransmit, ecn, .. } = self;
        Transmit { seq, ack, flags, window, urgent, options, payload, is_retransmit, ecn }
    }
}

/// What to send next.
#[derive(Debug, Clone, Copy)]
enum Plan {
    /// The RST that ends the connection.
    Reset,
    /// A RST that answers one segment.
    ResetReply(SeqNum),
    /// SYN or SYN-ACK.
    Syn,
    /// An acknowledgement of the past.
    OldAck,
    /// Payload, a FIN, or both.
    Data(Data),
    /// A segment that the peer must answer: an old sequence number.
    Probe,
    /// An ACK alone.
    Ack,
}

/// Why data is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// For the first time.
    New,
    /// Again, because it was lost.
    Lost,
    /// Again, as a tail loss probe.
    Probe,
    /// For the first time, in a larger segment of this size, to see whether
    /// the path takes it (RFC 4821).
    PathProbe(u16),
}

/// A range of the send buffer.
#[derive(Debug, Clone, Copy)]
struct Data {
    seq: SeqNum,
    /// Bytes of payload.
    len: u32,
    /// A FIN follows the payload.
    fin: bool,
    kind: Kind,
    /// It ends in a segment that is not full.
    partial: bool,
}

/// Why nothing new is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blocked {
    /// There is nothing, or it is held back.
    Held,
    /// The congestion window is used up.
    Congestion,
    /// The peer's window is.
    Window,
}

impl<B: Payload> Connection<B> {
    /// Whether [`Connection::poll_transmit`] wants to be called: there is
    /// something to send, or a timer to start for what cannot be sent.
    #[inline]
    pub fn wants_transmit(&self) -> bool {
        (self.has_unsent() && !self.timers.retransmit_armed()) || self.plan(u32::from(self.rcv.mss)).is_some()
    }

    /// The next segment to send, `None` when there is no more: call it until
    /// then. `max_payload` is what the device takes in one segment. Up to the
    /// MSS of this end it only ever cuts; beyond, payloads of several full
    /// segments are handed out for the device to cut (TSO).
    #[inline]
    pub fn poll_transmit(&mut self, now: Instant, max_payload: usize) -> Option<Transmit<'_>> {
        match self.plan(max_payload.clamp(1, LARGEST_PAYLOAD) as u32) {
            Some(plan) => {
                self.stats.segments_out += 1;
                Some(self.commit(plan, now))
            }
            None => {
                self.nothing_to_send(now);
                None
            }
        }
    }

    /// The next segment of a connection that can only have headers to send.
    pub(super) fn next_bare(&mut self, now: Instant) -> Option<Transmit<'static>> {
        let segment = self.poll_transmit(now, usize::from(self.rcv.mss))?;
        Some(segment.with_payload((&[], &[])))
    }

    /// Whether a look at what there is to send is in vain: what it is most often,
    /// since it is asked for after each segment and each call.
    #[inline]
    fn is_silent(&self) -> bool {
        self.pending.is_empty()
            && self.reset_reply.is_none()
            && self.unsent() == 0
            && !self.fin_due()
            && !self.flight.has_unsent_loss()
    }

    #[inline]
    fn plan(&self, max_payload: u32) -> Option<Plan> {
        if self.is_silent() { None } else { self.plan_something(max_payload) }
    }

    fn plan_something(&self, max_payload: u32) -> Option<Plan> {
        if self.pending.contains(Pending::RST) {
            return Some(Plan::Reset);
        }
        if let Some(seq) = self.reset_reply {
            return Some(Plan::ResetReply(seq));
        }
        if self.pending.contains(Pending::SYN) {
            return Some(Plan::Syn);
        }
        if self.pending.contains(Pending::OLD_ACK) {
            return Some(Plan::OldAck);
        }
        if self.state.can_transmit() && !self.timers.holds() {
            let probe = self.pending.contains(Pending::TAIL_PROBE);
            let data = if probe { self.plan_probe(max_payload) } else { self.plan_again(max_payload) };
            let data = data.or_else(|| self.plan_new(max_payload).ok());
            if let Some(data) = data {
                return Some(Plan::Data(data));
            }
        }
        if self.pending.contains(Pending::PROBE) {
            return Some(Plan::Probe);
        }
        self.pending.contains(Pending::ACK).then_some(Plan::Ack)
    }

    /// What was lost goes first, as far as the congestion window lets it.
    #[inline]
    fn plan_again(&self, max_payload: u32) -> Option<Data> {
        if self.flight.has_unsent_loss() { self.plan_lost(max_payload) } else { None }
    }

    fn plan_lost(&self, max_payload: u32) -> Option<Data> {
        if self.recovery.frto == Frto::Deciding {
            return None;
        }
        let most = self.segment_payload(self.options_len()).min(max_payload);
        let (seq, len) = self.flight.next_lost(most)?;
        let pipe = self.pipe();
        let fits = pipe + len.min(most) <= self.window.cwnd || pipe == 0 || self.recovery.resend_now;
        fits.then(|| self.sent_before(seq, len, most, Kind::Lost))
    }

    /// A range of what was sent, cut to `most` bytes of payload.
    fn sent_before(&self, seq: SeqNum, len: u32, most: u32, kind: Kind) -> Data {
        let payload = self.tx.end().since(seq).min(len);
        let fin = len > payload && payload <= most;
        Data { seq, len: payload.min(most), fin, kind, partial: false }
    }

    /// New data, whatever the congestion window says, or the last segment
    /// once more (RFC 8985 7.3).
    fn plan_probe(&self, max_payload: u32) -> Option<Data> {
        let most = self.segment_payload(self.options_len()).min(max_payload);
        let new = self.unsent().min(self.snd.edge().since(self.snd.nxt)).min(most);
        if new > 0 {
            return Some(self.new_data(new, most));
        }
        let (seq, len) = self.flight.last(most)?;
        Some(self.sent_before(seq, len, most, Kind::Probe))
    }

    /// The next bytes that were never sent, and the FIN when it follows them
    /// and the peer's window has room for it.
    #[inline]
    fn new_data(&self, len: u32, full: u32) -> Data {
        let seq = self.snd.nxt;
        let fin = self.fin_due() && len == self.unsent() && self.snd.edge().since(seq) > len;
        Data { seq, len, fin, kind: Kind::New, partial: !len.is_multiple_of(full) }
    }

    /// Whether something new may be sent now.
    pub(super) fn may_send_new(&self) -> bool {
        self.plan_new(u32::from(self.rcv.mss)).is_ok()
    }

    /// Payload that was never sent, as far as both windows, Nagle (RFC 9293
    /// 3.7.4) and the avoidance of silly windows (3.8.6.2.1) let it.
    #[inline]
    fn plan_new(&self, max_payload: u32) -> Result<Data, Blocked> {
        let seq = self.snd.nxt;
        let unsent = self.unsent();
        let room = self.snd.edge().since(seq);
        if unsent == 0 && !self.fin_due() {
            return Err(Blocked::Held);
        }
        if room == 0 {
            return Err(Blocked::Window);
        }
        let full = self.segment_payload(self.options_len()).min(max_payload);
        if self.pending.contains(Pending::OVERRIDE) {
            return Ok(self.new_data(unsent.min(room).min(full), full));
        }
        if self.path.is_some()
            && let Some((size, len)) = self.path_probe(unsent, room).filter(|&(_, len)| len <= max_payload)
        {
            // The probe waits for room in one piece, and the rest behind it.
            let fits = self.pipe() + len <= self.window.cwnd;
            let probe = Data { seq, len, fin: false, kind: Kind::PathProbe(size), partial: false };
            return if fits { Ok(probe) } else { Err(Blocked::Congestion) };
        }
        let most = self.offload_limit(max_payload, full);
        let mut len = unsent.min(room).min(most).min(self.congestion_room(unsent, full)?);
        if len % full != 0 && !self.may_send_partial(len, unsent, full) {
            len -= len % full;
            if len == 0 {
                return Err(if room < unsent { Blocked::Window } else { Blocked::Held });
            }
        }
        Ok(self.new_data(len, full))
    }

    /// Bytes that are handed out at once, in full segments, for the device to cut.
    #[inline]
    fn offload_limit(&self, max_payload: u32, full: u32) -> u32 {
        // Devices that cut do not agree about the urgent pointer, and may repeat
        // CWR in each segment.
        if max_payload <= u32::from(self.rcv.mss) || self.sends_urgent() || self.ecn.cwr_due() {
            return full;
        }
        let paced = if self.pacer.is_some() { self.paced_segment() } else { max_payload };
        let most = max_payload.min(paced).max(full);
        most - most % full
    }

    /// Bytes that the congestion window has room for: full segments, or all
    /// that there is. One segment may always be in the network.
    #[inline]
    fn congestion_room(&self, unsent: u32, full: u32) -> Result<u32, Blocked> {
        let pipe = self.pipe();
        let room = self.window.cwnd.saturating_sub(pipe);
        if room >= unsent {
            Ok(unsent)
        } else if room >= full {
            Ok(room - room % full)
        } else if pipe == 0 {
            Ok(full)
        } else {
            Err(Blocked::Congestion)
        }
    }

    /// Whether a segment that is not full may go.
    #[inline]
    fn may_send_partial(&self, len: u32, unsent: u32, full: u32) -> bool {
        if len < unsent {
            // Cut short by the peer's window: only when it can hardly open further.
            return len < full && len >= self.snd.max_wnd / 2;
        }
        if self.flags.contains(Flags::WRITE_SHUT) || self.sends_urgent() {
            return true;
        }
        if self.flags.contains(Flags::FLUSH) {
            return true;
        }
        if self.is_corked() {
            return false;
        }
        // Minshall's variant of Nagle, as in Linux: one small segment in flight.
        self.flags.contains(Flags::NODELAY) || self.snd.small_end.le(self.snd.una)
    }

    /// Whether the program wants partial segments held back.
    #[inline]
    pub(super) fn is_corked(&self) -> bool {
        self.flags.intersects(Flags::CORK | Flags::MORE)
    }

    /// Bytes written and never sent.
    #[inline]
    pub(super) fn unsent(&self) -> u32 {
        self.tx.end().since(self.snd.nxt)
    }

    #[inline]
    fn fin_due(&self) -> bool {
        self.flags & (Flags::WRITE_SHUT | Flags::FIN_SENT) == Flags::WRITE_SHUT
    }

    /// Whether payload or a FIN waits that was never sent.
    #[inline]
    pub(super) fn has_unsent(&self) -> bool {
        self.state.can_transmit() && (self.unsent() > 0 || self.fin_due())
    }

    /// Notes what kept the rest back, and sees to it that some timer runs as
    /// long as there is one.
    #[inline]
    fn nothing_to_send(&mut self, now: Instant) {
        let waits = self.has_unsent();
        let blocked = if waits { self.plan_new(u32::from(self.rcv.mss)).err() } else { None };
        self.recovery.cwnd_limited = if waits && self.timers.holds() {
            self.uses_window_paced()
        } else {
            blocked == Some(Blocked::Congestion)
        };
        self.account(blocked, now);
        if waits && !self.timers.retransmit_armed() {
            if self.flight.is_empty() { self.arm_persist(now) } else { self.arm_retransmit(now) }
        }
    }

    /// Keeps the account of what the sender's time goes to.
    #[inline]
    fn account(&mut self, blocked: Option<Blocked>, now: Instant) {
        let occupation = match blocked {
            Some(Blocked::Window) => Occupation::WindowLimited,
            Some(Blocked::Held | Blocked::Congestion) => Occupation::Busy,
            None if self.flight.is_empty() => Occupation::Idle,
            None if self.flags.contains(Flags::NO_SPACE) => Occupation::BufferLimited,
            None => Occupation::Busy,
        };
        self.chrono.enter(occupation, now);
        if !matches!(blocked, Some(Blocked::Window | Blocked::Congestion)) {
            self.rate.note_app_limited();
        }
    }

    fn commit(&mut self, plan: Plan, now: Instant) -> Transmit<'_> {
        match plan {
            Plan::Reset => {
                self.pending.remove(Pending::RST);
                // RFC 7323 3.2 wants the timestamps here too.
                let options = TcpOptions { timestamps: self.timestamps.option(now), ..Default::default() };
                let flags = TcpFlags::RST | TcpFlags::ACK;
                Transmit { options, ..self.bare(self.snd.nxt, self.rcv.nxt, flags) }
            }
            Plan::ResetReply(seq) => {
                self.reset_reply = None;
                self.bare(seq, SeqNum(0), TcpFlags::RST)
            }
            Plan::Syn => self.commit_syn(now),
            Plan::OldAck => self.commit_old_ack(now),
            Plan::Data(data) => self.commit_data(data, now),
            Plan::Probe => {
                self.pending.remove(Pending::PROBE);
                self.with_ack(self.snd.una - 1, TcpFlags::empty(), now)
            }
            Plan::Ack => self.with_ack(self.snd.nxt, TcpFlags::empty(), now),
        }
    }

    /// A segment of a header alone, without options.
    pub(super) fn bare(&self, seq: SeqNum, ack: SeqNum, flags: TcpFlags) -> Transmit<'static> {
        Transmit {
            seq,
            ack,
            flags,
            window: 0,
            urgent: 0,
            options: TcpOptions::default(),
            payload: (&[], &[]),
            is_retransmit: false,
            ecn: self.ecn.field(),
        }
    }

    fn commit_syn(&mut self, now: Instant) -> Transmit<'_> {
        let answers = self.state == State::SynReceived;
        let ack = if answers { self.rcv.nxt } else { SeqNum(0) };
        let flags = if answers { TcpFlags::SYN | TcpFlags::ACK } else { TcpFlags::SYN };
        let (marks, ecn) = self.ecn_of_syn();
        self.pending.remove(Pending::SYN | Pending::ACK);
        if !self.timers.retransmit_armed() {
            self.timers.syn_sent_at = now;
            self.timers.stalled_since = now;
            self.arm_retransmit(now);
        }
        Transmit {
            options: self.syn_options(now),
            window: self.rcv.syn_field(),
            is_retransmit: self.timers.backoff > 0,
            ecn,
            ..self.bare(self.snd.iss, ack, flags | marks)
        }
    }

    #[inline]
    fn commit_data(&mut self, data: Data, now: Instant) -> Transmit<'_> {
        let sequence_len = data.len + u32::from(data.fin);
        match data.kind {
            Kind::New | Kind::PathProbe(_) => self.commit_new(data, sequence_len, now),
            Kind::Lost => self.commit_lost(data.seq, sequence_len, now),
            Kind::Probe => self.commit_probe(data.seq, sequence_len, now),
        }
        let again = matches!(data.kind, Kind::Lost | Kind::Probe);
        self.recovery.note_sent(sequence_len);
        self.pace(sequence_len, now);
        self.stats.data_segments_out += data.len.div_ceil(self.smss());
        self.stats.segments_out += data.len.div_ceil(self.smss()).saturating_sub(1);
        self.stats.bytes_sent += u64::from(data.len);
        self.stats.bytes_retransmitted += if again { u64::from(data.len) } else { 0 };
        let mut flags = TcpFlags::empty();
        flags.set(TcpFlags::FIN, data.fin);
        let ends = data.seq + data.len == self.tx.end() && !self.expects_more();
        flags.set(TcpFlags::PSH, data.len > 0 && ends);
        let (ecn, cwr) = self.ecn.of_data(!again && data.len > 0);
        let header = self.with_ack(data.seq, flags | cwr, now);
        let payload = self.tx.range(data.seq, data.len);
        Transmit { is_retransmit: again, ecn, ..header.with_payload(payload) }
    }

    /// Whether the program has said that more follows, and was not told off.
    #[inline]
    fn expects_more(&self) -> bool {
        self.flags & (Flags::MORE | Flags::FLUSH) == Flags::MORE
    }

    #[inline]
    fn commit_new(&mut self, data: Data, sequence_len: u32, now: Instant) {
        let was_idle = self.flight.is_empty();
        if was_idle {
            let silence = now - self.timers.last_sent;
            if silence > self.rtt.rto() && self.recovery.phase == Phase::Open {
                self.restart_after_idle(silence);
            }
            self.arm_retransmit(now);
            self.resume_after_pause(now);
        }
        self.flight.push(data.seq, sequence_len, micros32(now));
        self.snd.nxt += sequence_len;
        if self.path.is_some() {
            if let Kind::PathProbe(size) = data.kind {
                self.path_probe_sent(data.seq, data.len, size);
            }
            self.review_path(now);
        }
        self.rate.sent(was_idle, self.snd.nxt, self.stats.delivered, now);
        if data.partial {
            self.snd.small_end = self.snd.nxt;
        }
        if data.fin {
            self.flags.insert(Flags::FIN_SENT);
        }
        if self.pending.contains(Pending::TAIL_PROBE) {
            self.tail_probe_sent(false);
        } else {
            self.arm_tail_probe(now);
        }
        self.pending.remove(Pending::OVERRIDE);
        if now - self.timers.last_data_received < self.config.delayed_ack {
            self.flags.insert(Flags::INTERACTIVE);
        }
        self.timers.last_sent = now;
        self.timers.note_activity(now, self.config.idle_release);
        self.note_writable();
    }

    fn commit_lost(&mut self, seq: SeqNum, sequence_len: u32, now: Instant) {
        self.stats.retransmits += 1;
        self.recovery.resend_now = false;
        self.note_resend(seq, sequence_len, now);
        self.flight.mark_resent(seq, sequence_len, micros32(now));
        self.timers.last_sent = now;
        if seq == self.snd.una || !self.timers.retransmit_armed() {
            self.arm_retransmit(now);
        }
    }

    fn commit_probe(&mut self, seq: SeqNum, sequence_len: u32, now: Instant) {
        self.stats.retransmits += 1;
        self.flight.mark_probed(seq, sequence_len, micros32(now));
        self.timers.last_sent = now;
        self.tail_probe_sent(true);
    }

    /// A segment with the acknowledgement, the window and the options that go
    /// with it; no ACK is owed after it.
    #[inline]
    fn with_ack(&mut self, seq: SeqNum, flags: TcpFlags, now: Instant) -> Transmit<'static> {
        self.pending.remove(Pending::ACK);
        self.timers.ack_sent();
        self.quick_acks = self.quick_acks.saturating_sub(1);
        self.rcv.ack_sent = self.rcv.nxt;
        let window = self.rcv.advertise(self.rx.len(), || self.share.is_pressed());
        let options = TcpOptions {
            timestamps: self.timestamps.option(now),
            sack: self.sack_blocks(),
            ..Default::default()
        };
        self.rcv.duplicate = None;
        let bare = self.bare(seq, self.rcv.nxt, flags | TcpFlags::ACK | self.ecn.echo());
        let mut segment = Transmit { window, options, ..bare };
        if self.urgent.is_some() {
            self.mark_urgent(&mut segment);
        }
        segment
    }

    /// SACK blocks that fit beside the timestamps.
    #[inline]
    fn most_blocks(&self) -> usize {
        if self.timestamps.enabled { 3 } else { 4 }
    }

    /// Bytes of options of a segment sent now.
    #[inline]
    fn options_len(&self) -> usize {
        let stamp = if self.timestamps.enabled { 12 } else { 0 };
        let waiting = self.reassembly.as_ref().map_or(0, |waiting| waiting.blocks().len());
        let blocks = (waiting + usize::from(self.rcv.duplicate.is_some())).min(self.most_blocks());
        if blocks == 0 || !self.flags.contains(Flags::SACK) { stamp } else { stamp + 4 + 8 * blocks }
    }

    /// A duplicate to report first (RFC 2883 4), then what waits behind gaps,
    /// the newest first (RFC 2018 4).
    #[inline]
    fn sack_blocks(&self) -> SackBlocks {
        let nothing = self.reassembly.is_none() && self.rcv.duplicate.is_none();
        if nothing || !self.flags.contains(Flags::SACK) {
            return SackBlocks::new();
        }
        let waiting = self.reassembly.iter().flat_map(|waiting| waiting.blocks()).copied();
        self.rcv.duplicate.into_iter().chain(waiting).take(self.most_blocks()).collect()
    }
}
