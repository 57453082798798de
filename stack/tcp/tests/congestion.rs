//! The controllers on simulated lines: how full they keep the line, how full its
//! queue, and what they lose.

use tpa_sim::{HostConfig, LinkConfig, LinkStats, Sink, Source, World};
use tpa_tcp::{Config, CongestionAlgorithm, Duration, EcnMode, Info};

/// 100 Mbit/s in bytes a second.
const RATE: u64 = 12_500_000;
/// What of it is payload: 1448 of 1514 bytes of each frame.
const PAYLOAD_SHARE: f64 = 1448.0 / 1514.0;

struct Outcome {
    /// Payload that arrived in order in the second half, as a share of the line.
    share: f64,
    /// The sender.
    sender: Info,
    line: LinkStats,
}

/// One bulk transfer for `span` over 100 Mbit/s and 20 ms, with the queue and
/// the marks of `line`.
fn transfer(config: Config, line: LinkConfig, span: Duration) -> Outcome {
    let half = Duration::from_millis(10);
    let there = LinkConfig { delay: half, rate: RATE, ..line };
    let back = LinkConfig { delay: half, rate: RATE, ..LinkConfig::default() };
    let size = 4 << 20;
    let config = Config { sndbuf: size, sndbuf_max: size, rcvbuf: size, rcvbuf_max: size, ..config };
    let mut world = World::trusting(1);
    let links = [world.add_link(there), world.add_link(back)];
    let client =
        HostConfig { config: config.clone(), opens_after: Some(Duration::ZERO), ..HostConfig::default() };
    let server = HostConfig { config, ..HostConfig::default() };
    let flow = world.add_flow(
        [client, server],
        [Box::<Source>::default(), Box::<Sink>::default()],
        [vec![links[0]], vec![links[1]]],
    );
    let received = |world: &World| world.connection(flow.server).map_or(0, |c| c.info().bytes_received);
    let part = Duration::from_micros(span.as_micros() / 2);
    world.run_for(part).expect("the first half");
    let before = received(&world);
    world.run_for(part).expect("the second half");
    let bytes = (received(&world) - before) as f64;
    Outcome {
        share: bytes / (RATE as f64 * part.as_secs_f64() * PAYLOAD_SHARE),
        sender: world.connection(flow.client).expect("open").info(),
        line: world.link_stats(links[0]),
    }
}

/// A queue as long as the path, and one that marks above `bytes`.
fn deep() -> LinkConfig {
    LinkConfig { queue: 250_000, ..LinkConfig::default() }
}

fn marking(bytes: u64) -> LinkConfig {
    LinkConfig { mark_above: Some(bytes), ..deep() }
}

fn with(congestion: CongestionAlgorithm) -> Config {
    Config { congestion, ..Config::default() }
}

#[test]
fn the_first_slow_start_of_cubic_loses_a_fraction_of_what_plain_slow_start_does() {
    // HyStart++ (RFC 9406), where the queue is deep enough to show delay first.
    let deep = || LinkConfig { queue: 1_000_000, ..LinkConfig::default() };
    let cubic = transfer(with(CongestionAlgorithm::Cubic), deep(), Duration::from_secs(3));
    let plain = transfer(with(CongestionAlgorithm::NewReno), deep(), Duration::from_secs(3));
    let (cubic, plain) = (cubic.line.dropped, plain.line.dropped);
    assert!(3 * cubic < plain, "{cubic} and {plain}");
}

#[test]
fn pacing_fills_the_line() {
    for congestion in CongestionAlgorithm::ALL {
        let config = Config { pacing: true, ..with(congestion) };
        let paced = transfer(config, deep(), Duration::from_secs(10));
        assert!(paced.share > 0.95, "{congestion:?} {}", paced.share);
        assert!(paced.sender.timeouts == 0, "{congestion:?}");
    }
}

#[test]
fn pacing_fills_a_line_with_a_short_queue() {
    // A fifth of the path, which bursts of a window would overflow.
    let short = || LinkConfig { queue: 50_000, ..LinkConfig::default() };
    let config = Config { pacing: true, ..with(CongestionAlgorithm::Cubic) };
    let paced = transfer(config, short(), Duration::from_secs(20));
    assert!(paced.share > 0.85, "{}", paced.share);
}

#[test]
fn with_marks_nothing_is_lost() {
    // RFC 3168: the queue marks long before it overflows.
    for congestion in [CongestionAlgorithm::Cubic, CongestionAlgorithm::NewReno] {
        let config = Config { ecn: EcnMode::On, ..with(congestion) };
        let outcome = transfer(config, marking(100_000), Duration::from_secs(20));
        assert!(outcome.line.marked > 0, "{congestion:?}");
        assert_eq!((outcome.line.dropped, outcome.sender.retransmits), (0, 0), "{congestion:?}");
        assert!(outcome.share > 0.85, "{congestion:?} {}", outcome.share);
    }
}

#[test]
fn dctcp_keeps_the_line_full_with_a_queue_of_a_fifth_of_the_path() {
    // RFC 8257; RFC 3168's halving at the same threshold leaves the line idle.
    let outcome = transfer(with(CongestionAlgorithm::Dctcp), marking(50_000), Duration::from_secs(20));
    assert_eq!((outcome.line.dropped, outcome.sender.retransmits), (0, 0));
    assert!(outcome.share > 0.97, "{}", outcome.share);
    // The queue adds 4 ms to the 20 ms of the path where it marks.
    assert!(outcome.sender.rtt < Duration::from_millis(27), "{:?}", outcome.sender.rtt);
    let halving = Config { ecn: EcnMode::On, ..with(CongestionAlgorithm::NewReno) };
    let reno = transfer(halving, marking(50_000), Duration::from_secs(20));
    assert!(reno.share < outcome.share, "{}", reno.share);
}

#[test]
fn without_marks_dctcp_is_renos_equal() {
    let dctcp = transfer(with(CongestionAlgorithm::Dctcp), deep(), Duration::from_secs(10));
    let reno = transfer(with(CongestionAlgorithm::NewReno), deep(), Duration::from_secs(10));
    assert!((dctcp.share - reno.share).abs() < 0.02, "{} {}", dctcp.share, reno.share);
}
