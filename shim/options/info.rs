//! `TCP_INFO`: Linux's `struct tcp_info` (include/uapi/linux/tcp.h) up to
//! `tcpi_rehash`, where Linux 6.2 ended.

use arrayvec::ArrayVec;
use tpa_tcp::{Duration, Info, Instant, LossState, State};

/// Bytes of the structure.
pub const LENGTH: usize = 240;

/// Where `tcpi_unacked` is: on a listener, connections that wait for accept(2).
const UNACKED: usize = 24;

/// `tcpi_options`: TCPI_OPT_TIMESTAMPS, TCPI_OPT_SACK, TCPI_OPT_WSCALE,
/// TCPI_OPT_ECN, TCPI_OPT_ECN_SEEN.
const TIMESTAMPS: u8 = 1;
const SACK: u8 = 2;
const WSCALE: u8 = 4;
const ECN: u8 = 8;
const ECN_SEEN: u8 = 16;

/// `TCP_INFINITE_SSTHRESH`.
const INFINITE: u32 = 0x7fff_ffff;

/// A structure under construction, field by field in their order.
struct Writer(ArrayVec<u8, LENGTH>);

impl Writer {
    fn bytes<const N: usize>(&mut self, values: [u8; N]) {
        self.0.extend(values);
    }

    fn words<const N: usize>(&mut self, values: [u32; N]) {
        self.0.extend(values.into_iter().flat_map(u32::to_ne_bytes));
    }

    fn longs<const N: usize>(&mut self, values: [u64; N]) {
        self.0.extend(values.into_iter().flat_map(u64::to_ne_bytes));
    }
}

/// The structure's bytes as of `now`; `headers` is the length of the IP and TCP
/// headers without options. Windows are in segments where Linux
/// counts segments, times in microseconds but for the "last" ones, which are in
/// milliseconds.
pub fn tcp_info(info: &Info, headers: u32, now: Instant) -> ArrayVec<u8, LENGTH> {
    let mut out = Writer(ArrayVec::new());
    put_state(info, &mut out);
    put_path(info, headers, now, &mut out);
    put_counts(info, now, &mut out);
    out.0
}

/// Up to `tcpi_fastopen_client_fail`.
fn put_state(info: &Info, out: &mut Writer) {
    let byte = |count: u32| count.min(255) as u8;
    out.bytes([
        state_of(info.state),
        loss_state_of(info.loss_state),
        byte(info.backoff),
        byte(info.probes),
        byte(info.backoff),
        options_of(info),
        info.snd_wscale & 0xf | info.rcv_wscale << 4,
        u8::from(info.delivery_rate_app_limited),
    ]);
}

/// From `tcpi_rto` to `tcpi_total_retrans`.
fn put_path(info: &Info, headers: u32, now: Instant, out: &mut Writer) {
    let mss = info.snd_mss.max(1);
    let segments = |bytes: u32| bytes.div_ceil(mss);
    let ago = |at: Instant| clamp((now - at).as_millis());
    out.words([
        micros(info.rto_backed_off),
        micros(info.delayed_ack),
        info.snd_mss,
        info.rcv_mss,
        segments(info.unacked),
        segments(info.sacked),
        segments(info.lost),
        segments(info.resent),
        0, // tcpi_fackets: Linux has dropped it
        ago(info.last_data_sent),
        0, // tcpi_last_ack_sent: "not remembered, sorry"
        ago(info.last_data_received),
        ago(info.last_received),
        info.path_mss + headers,
        info.window_clamp,
        micros(info.rtt),
        micros(info.rttvar),
        if info.ssthresh == u32::MAX { INFINITE } else { info.ssthresh / mss },
        info.cwnd / mss,
        info.advmss,
        info.reordering,
        micros(info.rcv_rtt),
        info.rcv_space,
        info.retransmits,
    ]);
}

/// From `tcpi_pacing_rate` to the end.
fn put_counts(info: &Info, now: Instant, out: &mut Writer) {
    let unlimited = u64::MAX;
    let time = info.chrono.until(now);
    out.longs([info.pacing_rate.unwrap_or(unlimited), unlimited, info.bytes_acked, info.bytes_received]);
    out.words([
        info.segments_out,
        info.segments_in,
        info.unsent,
        if info.min_rtt == Duration::ZERO { u32::MAX } else { micros(info.min_rtt) },
        info.data_segments_in,
        info.data_segments_out,
    ]);
    out.longs([info.delivery_rate]);
    out.longs([time.busy_time(), time.window_limited(), time.buffer_limited()].map(Duration::as_micros));
    out.words([info.delivered, info.delivered_ce]);
    out.longs([info.bytes_sent, info.bytes_retransmitted]);
    out.words([
        info.dsack_dups,
        info.reord_seen,
        info.out_of_order,
        info.snd_wnd,
        info.rcv_wnd,
        0, // tcpi_rehash: nothing hashes the flow anew
    ]);
}

/// The kernel's structure for a listener, with the connections that wait in
/// the stack added to those that wait in the kernel.
pub fn add_waiting(structure: &mut [u8], waiting: u32) {
    if let Some(field) = structure.get_mut(UNACKED..).and_then(|rest| rest.first_chunk_mut::<4>()) {
        *field = u32::from_ne_bytes(*field).saturating_add(waiting).to_ne_bytes();
    }
}

fn clamp(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn micros(time: Duration) -> u32 {
    clamp(time.as_micros())
}

/// Linux's numbers (include/net/tcp_states.h).
fn state_of(state: State) -> u8 {
    match state {
        State::Established => 1,
        State::SynSent => 2,
        State::SynReceived => 3,
        State::FinWait1 => 4,
        State::FinWait2 => 5,
        State::TimeWait => 6,
        State::Closed => 7,
        State::CloseWait => 8,
        State::LastAck => 9,
        State::Closing => 11,
    }
}

/// Linux's numbers (`enum tcp_ca_state`).
fn loss_state_of(state: LossState) -> u8 {
    match state {
        LossState::Open => 0,
        LossState::Disorder => 1,
        LossState::Reduced => 2,
        LossState::Recovery => 3,
        LossState::Loss => 4,
    }
}

fn options_of(info: &Info) -> u8 {
    let bit = |on, bit| if on { bit } else { 0 };
    bit(info.timestamps, TIMESTAMPS)
        | bit(info.sack, SACK)
        | bit(info.snd_wscale != 0 || info.rcv_wscale != 0, WSCALE)
        | bit(info.ecn, ECN)
        | bit(info.ecn_seen, ECN_SEEN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    /// Linux's structure with the bit fields as bytes, so that the compiler
    /// says where each field is.
    #[repr(C)]
    #[allow(dead_code)]
    struct TcpInfo {
        state_to_app_limited: [u8; 8],
        rto: u32,
        ato: u32,
        snd_mss: u32,
        rcv_mss: u32,
        unacked: u32,
        sacked: u32,
        lost: u32,
        retrans: u32,
        fackets: u32,
        last_data_sent: u32,
        last_ack_sent: u32,
        last_data_recv: u32,
        last_ack_recv: u32,
        pmtu: u32,
        rcv_ssthresh: u32,
        rtt: u32,
        rttvar: u32,
        snd_ssthresh: u32,
        snd_cwnd: u32,
        advmss: u32,
        reordering: u32,
        rcv_rtt: u32,
        rcv_space: u32,
        total_retrans: u32,
        pacing_rate: u64,
        max_pacing_rate: u64,
        bytes_acked: u64,
        bytes_received: u64,
        segs_out: u32,
        segs_in: u32,
        notsent_bytes: u32,
        min_rtt: u32,
        data_segs_in: u32,
        data_segs_out: u32,
        delivery_rate: u64,
        busy_time: u64,
        rwnd_limited: u64,
        sndbuf_limited: u64,
        delivered: u32,
        delivered_ce: u32,
        bytes_sent: u64,
        bytes_retrans: u64,
        dsack_dups: u32,
        reord_seen: u32,
        rcv_ooopack: u32,
        snd_wnd: u32,
        rcv_wnd: u32,
        rehash: u32,
    }

    fn sample() -> Info {
        Info {
            state: State::CloseWait,
            loss_state: LossState::Loss,
            backoff: 3,
            probes: 2,
            snd_wscale: 9,
            rcv_wscale: 7,
            timestamps: true,
            sack: true,
            snd_mss: 1448,
            path_mss: 1460,
            rcv_mss: 1300,
            cwnd: 14_480,
            ssthresh: u32::MAX,
            unacked: 1449,
            sacked: 5,
            lost: 2896,
            resent: 1,
            rtt: Duration::from_micros(77),
            rcv_rtt: Duration::from_micros(99),
            rcv_space: 1234,
            retransmits: 6,
            bytes_acked: 1 << 40,
            segments_out: 11,
            unsent: 12,
            min_rtt: Duration::from_micros(13),
            delivery_rate: 1 << 41,
            delivered: 14,
            delivered_ce: 20,
            ecn: true,
            ecn_seen: true,
            pacing_rate: Some(1 << 43),
            bytes_sent: 1 << 42,
            bytes_retransmitted: 15,
            dsack_dups: 16,
            out_of_order: 17,
            snd_wnd: 18,
            rcv_wnd: 19,
            last_data_sent: Instant::from_millis(1000),
            last_data_received: Instant::from_millis(2000),
            ..Info::default()
        }
    }

    #[test]
    fn every_field_is_where_linux_has_it() {
        let bytes = tcp_info(&sample(), 40, Instant::from_millis(5000));
        assert_eq!((bytes.len(), size_of::<TcpInfo>()), (LENGTH, LENGTH));
        let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        let long = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
        assert_eq!(bytes[..8], [8, 4, 3, 2, 3, 31, 0x79, 0]);
        for (at, expected) in [
            (offset_of!(TcpInfo, snd_mss), 1448),
            (offset_of!(TcpInfo, rcv_mss), 1300),
            (offset_of!(TcpInfo, unacked), 2),
            (offset_of!(TcpInfo, sacked), 1),
            (offset_of!(TcpInfo, lost), 2),
            (offset_of!(TcpInfo, retrans), 1),
            (offset_of!(TcpInfo, last_data_sent), 4000),
            (offset_of!(TcpInfo, last_data_recv), 3000),
            (offset_of!(TcpInfo, pmtu), 1500),
            (offset_of!(TcpInfo, rtt), 77),
            (offset_of!(TcpInfo, snd_ssthresh), INFINITE),
            (offset_of!(TcpInfo, snd_cwnd), 10),
            (offset_of!(TcpInfo, rcv_rtt), 99),
            (offset_of!(TcpInfo, rcv_space), 1234),
            (offset_of!(TcpInfo, total_retrans), 6),
            (offset_of!(TcpInfo, segs_out), 11),
            (offset_of!(TcpInfo, notsent_bytes), 12),
            (offset_of!(TcpInfo, min_rtt), 13),
            (offset_of!(TcpInfo, delivered), 14),
            (offset_of!(TcpInfo, delivered_ce), 20),
            (offset_of!(TcpInfo, dsack_dups), 16),
            (offset_of!(TcpInfo, rcv_ooopack), 17),
            (offset_of!(TcpInfo, snd_wnd), 18),
            (offset_of!(TcpInfo, rcv_wnd), 19),
        ] {
            assert_eq!(word(at), expected, "at {at}");
        }
        for (at, expected) in [
            (offset_of!(TcpInfo, pacing_rate), 1 << 43),
            (offset_of!(TcpInfo, max_pacing_rate), u64::MAX),
            (offset_of!(TcpInfo, bytes_acked), 1 << 40),
            (offset_of!(TcpInfo, delivery_rate), 1 << 41),
            (offset_of!(TcpInfo, bytes_sent), 1 << 42),
            (offset_of!(TcpInfo, bytes_retrans), 15),
        ] {
            assert_eq!(long(at), expected, "at {at}");
        }
    }

    #[test]
    fn the_part_that_libc_knows_agrees_with_it() {
        assert_eq!(offset_of!(TcpInfo, unacked), offset_of!(libc::tcp_info, tcpi_unacked));
        assert_eq!(offset_of!(TcpInfo, rtt), offset_of!(libc::tcp_info, tcpi_rtt));
        assert_eq!(offset_of!(TcpInfo, total_retrans), offset_of!(libc::tcp_info, tcpi_total_retrans));
        assert_eq!(offset_of!(TcpInfo, unacked), UNACKED);
    }

    #[test]
    fn a_listeners_queues_are_added_up() {
        let mut structure = [0; LENGTH];
        structure[UNACKED] = 3;
        add_waiting(&mut structure, 4);
        assert_eq!(structure[UNACKED], 7);
        add_waiting(&mut structure[..20], 4);
    }
}
