//! What bytes from the fuzzer mean: how a connection begins, what happens to
//! it, and who is there in the end.

use arbitrary::Arbitrary;
use tpa_tcp::wire::Ecn;
use tpa_tcp::{Config, CongestionAlgorithm, Duration, EcnMode, MtuProbing};

/// How the connection begins.
#[derive(Debug, Arbitrary)]
pub struct Setup {
    /// We open it, rather than the peer.
    pub active: bool,
    /// The handshake is completed before the first step.
    pub established: bool,
    /// What the peer's SYN carries.
    pub options: Options,
    /// The peer's first window.
    pub window: u16,
    /// Receive buffer, in units of 256 bytes.
    pub rcvbuf: u8,
    pub no_timestamps: bool,
    pub no_sack: bool,
    pub no_scaling: bool,
    pub congestion: Control,
    pub ecn: bool,
    pub pacing: bool,
    /// The path's MTU is searched for from the start.
    pub probes_path: bool,
    pub ending: Ending,
}

impl Setup {
    /// Small buffers, so that bounds are soon reached.
    pub fn config(&self) -> Config {
        Config {
            rcvbuf: 4096 + 256 * usize::from(self.rcvbuf),
            sndbuf: 16 * 1024,
            sndbuf_max: 128 * 1024,
            reassembly_segments: 40,
            timestamps: !self.no_timestamps,
            sack: !self.no_sack,
            window_scaling: !self.no_scaling,
            congestion: self.congestion.algorithm(),
            ecn: if self.ecn { EcnMode::On } else { EcnMode::Accept },
            pacing: self.pacing,
            mtu_probing: if self.probes_path { MtuProbing::Always } else { MtuProbing::BlackHole },
            ..Config::default()
        }
    }
}

/// A congestion control algorithm.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Control {
    Cubic,
    NewReno,
    Dctcp,
}

impl Control {
    /// The engine's name for it.
    pub fn algorithm(self) -> CongestionAlgorithm {
        match self {
            Control::Cubic => CongestionAlgorithm::Cubic,
            Control::NewReno => CongestionAlgorithm::NewReno,
            Control::Dctcp => CongestionAlgorithm::Dctcp,
        }
    }
}

/// What comes after the last step.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Ending {
    /// The program closes, and nothing ever arrives again.
    Silence,
    /// The peer acknowledges all that it gets, and the program closes.
    Honesty,
}

/// Options of an injected segment; numbers of SACK blocks as in [`Segment::ack`].
#[derive(Debug, Arbitrary)]
pub struct Options {
    pub mss: Option<u16>,
    pub window_scale: Option<u8>,
    pub sack_permitted: bool,
    pub timestamps: Stamp,
    pub sack: Option<[(Place, u16); 3]>,
}

/// The timestamps of an injected segment.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Stamp {
    /// The option is there exactly when it was negotiated, and is plausible.
    Honest,
    Absent,
    Exactly(u32, u32),
    /// Later or earlier than what was last echoed, and an echo so long ago.
    Near(i16, u16),
}

/// A sequence number: somewhere in relation to what matters.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Place {
    /// The next that the receiver expects.
    Next,
    Ahead(u8),
    FurtherAhead(u16),
    Behind(u8),
    FurtherBehind(u16),
    /// The edge of the window, and beyond or before it.
    Edge(i8),
    Anywhere(u32),
}

/// A segment of the peer.
#[derive(Debug, Arbitrary)]
pub struct Segment {
    pub kind: Kind,
    /// In relation to what we acknowledge and offer.
    pub seq: Place,
    /// In relation to what we have sent and may send.
    pub ack: Place,
    pub window: u16,
    pub len: u16,
    pub options: Options,
    /// The urgent pointer, with its flag.
    pub urgent: Option<u16>,
    pub ecn: Mark,
    /// ECE is set.
    pub echo: bool,
}

/// The ECN field of a segment's packet.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Mark {
    None,
    Capable,
    CongestionExperienced,
}

impl Mark {
    /// As the wire has it.
    pub fn field(self) -> Ecn {
        match self {
            Mark::None => Ecn::NotEct,
            Mark::Capable => Ecn::Ect0,
            Mark::CongestionExperienced => Ecn::Ce,
        }
    }
}

/// Control bits: those that lead deepest, or any.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Kind {
    Ack,
    Data,
    Fin,
    Syn,
    SynAck,
    Reset,
    Any(u8),
}

/// A call of the program that needs no more than its arguments.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Call {
    Shutdown,
    ShutdownRead,
    Close,
    Abort,
    CopyOut,
    Cork(bool),
    Nodelay(bool),
    Quickack(bool),
    Sndbuf(u16),
    Rcvbuf(u16),
    /// Idle and interval in seconds, and probes: the ranges that the system
    /// takes.
    Keepalive(Option<(u8, u8, u8)>),
    UserTimeoutMillis(u16),
    Rcvlowat(u16),
    NotsentLowat(u16),
    WindowClamp(u16),
    /// Kilobytes a second.
    Pacing(Option<u16>),
    Congestion(Control),
    Peek(u16),
    TakeError,
}

/// How long nothing happens.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Wait {
    Micros(u16),
    Millis(u16),
    Seconds(u8),
    /// Until the next timer has run.
    Timer,
}

impl Wait {
    /// The time, unless it depends on the connection.
    pub fn duration(self) -> Option<Duration> {
        match self {
            Wait::Micros(micros) => Some(Duration::from_micros(micros.into())),
            Wait::Millis(millis) => Some(Duration::from_millis(millis.into())),
            Wait::Seconds(seconds) => Some(Duration::from_secs(seconds.into())),
            Wait::Timer => None,
        }
    }
}

/// Largest payload that the device takes in one segment.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Device {
    Ordinary,
    Offloading,
    Odd(u8),
}

/// One thing that happens.
#[derive(Debug, Arbitrary)]
pub enum Step {
    Segment(Segment),
    /// The peer acknowledges all that was sent, with this window.
    HonestAck(u16),
    /// The peer sends its next bytes.
    HonestData(u16),
    /// A segment that the peer's earlier ones left out, or any other, and
    /// SACK blocks for some of what we have sent.
    HonestSack {
        skip: u16,
        len: u16,
    },
    /// A router reports the largest payload that it passes on, for so many
    /// seconds.
    TooBig(u16, u8),
    /// Another one reports that nothing reaches the peer.
    Unreachable,
    Wait(Wait),
    Write(u16),
    WriteMore(u16),
    WriteUrgent(u16),
    Read(u16),
    Transmit(Device),
    Call(Call),
}
