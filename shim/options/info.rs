//! `TCP_INFO`: Linux's `struct tcp_info` (include/uapi/linux/tcp.h) up to
//! `tcpi_bytes_received`.

use arrayvec::ArrayVec;
use tpa_tcp::{Info, State};

/// Bytes of the part that is filled in.
const LENGTH: usize = 136;

/// `tcpi_options`: TCPI_OPT_TIMESTAMPS, TCPI_OPT_SACK, TCPI_OPT_WSCALE.
const TIMESTAMPS: u8 = 1;
const SACK: u8 = 2;
const WSCALE: u8 = 4;

/// The structure's bytes. Windows are in segments where Linux counts segments.
pub fn tcp_info(info: &Info) -> ArrayVec<u8, LENGTH> {
    let mss = info.snd_mss.max(1);
    let micros = |time: tpa_tcp::Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    let segments = |bytes: u32| bytes.div_ceil(mss);
    let mut out = ArrayVec::new();
    out.extend([
        state_of(info.state),
        0, // tcpi_ca_state
        info.backoff.min(255) as u8,
        0, // tcpi_probes
        info.backoff.min(255) as u8,
        options_of(info),
        info.snd_wscale & 0xf | info.rcv_wscale << 4,
        0, // tcpi_delivery_rate_app_limited, tcpi_fastopen_client_fail
    ]);
    let words = [
        micros(info.rto),
        0, // tcpi_ato
        info.snd_mss,
        info.rcv_mss,
        segments(info.unacked),
        segments(info.sacked),
        segments(info.lost),
        0, // tcpi_retrans: segments retransmitted and still out
        0, // tcpi_fackets
        0, // tcpi_last_data_sent
        0, // tcpi_last_ack_sent
        0, // tcpi_last_data_recv
        0, // tcpi_last_ack_recv
        0, // tcpi_pmtu
        info.rcv_wnd,
        micros(info.rtt),
        micros(info.rttvar),
        if info.ssthresh == u32::MAX { i32::MAX as u32 } else { info.ssthresh / mss },
        info.cwnd / mss,
        info.snd_mss,
        3, // tcpi_reordering: Linux's initial degree
        0, // tcpi_rcv_rtt
        info.rcv_wnd,
        info.retransmits,
    ];
    out.extend(words.into_iter().flat_map(u32::to_ne_bytes));
    let unlimited = u64::MAX; // tcpi_pacing_rate, tcpi_max_pacing_rate
    let counts = [unlimited, unlimited, info.bytes_acked, info.bytes_received];
    out.extend(counts.into_iter().flat_map(u64::to_ne_bytes));
    out
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

fn options_of(info: &Info) -> u8 {
    let bit = |on, bit| if on { bit } else { 0 };
    bit(info.timestamps, TIMESTAMPS)
        | bit(info.sack, SACK)
        | bit(info.snd_wscale != 0 || info.rcv_wscale != 0, WSCALE)
}
