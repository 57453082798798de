//! How much a bulk transfer gets out of a path, beside what it could get.

mod model;
mod table;

use tpa_tcp::{Config, CongestionAlgorithm, Duration};

use crate::{HostConfig, LinkConfig, LinkId, Loss, Sink, Source, World};
pub use model::{Bound, bound};
pub use table::{Row, rows, table};

/// Payload of a full segment: an MTU of 1500 less the headers and timestamps.
pub const PAYLOAD: u32 = 1448;

/// The same segment as a frame, as the rate of a link counts it.
pub const FRAME: u32 = PAYLOAD + 66;

/// A path: a line with a queue, whose far side loses or reorders.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Path {
    /// Rate of the line in Mbit/s of Ethernet frames.
    pub mbits: u64,
    /// Round-trip time without queueing in milliseconds.
    pub rtt_ms: u64,
    /// Probability that a data segment is lost.
    pub loss: f64,
    /// Probability that a data segment is late.
    pub reordering: f64,
    /// By up to how much, in microseconds.
    pub late_us: u64,
}

impl Path {
    /// Bytes of a second on the line.
    pub fn bytes_per_second(&self) -> u64 {
        self.mbits * 125_000
    }

    /// Bytes that the path holds without its queue.
    pub fn bandwidth_delay_product(&self) -> u64 {
        self.bytes_per_second() * self.rtt_ms / 1000
    }

    /// Bytes of the queue: as much as the path holds, but 64 kB at least.
    pub fn queue(&self) -> u64 {
        self.bandwidth_delay_product().max(64_000)
    }

    /// The two links: data goes over the first.
    fn links(&self) -> [LinkConfig; 2] {
        let half = Duration::from_micros(self.rtt_ms * 500);
        let back = LinkConfig {
            delay: half,
            rate: self.bytes_per_second(),
            queue: self.queue(),
            ..LinkConfig::default()
        };
        let there = LinkConfig {
            loss: if self.loss > 0.0 { Loss::Independent(self.loss) } else { Loss::Never },
            reordering: self.reordering,
            reordering_extent: Duration::from_micros(self.late_us),
            ..back.clone()
        };
        [there, back]
    }
}

/// What a transfer has achieved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Goodput {
    /// Payload that arrived in order, in Mbit/s.
    pub mbits: f64,
    /// Segments sent again, as a share of all data segments.
    pub retransmitted: f64,
    /// Segments sent again that were not lost, as a share of all.
    pub spurious: f64,
    /// Retransmission timeouts.
    pub timeouts: u32,
}

/// Buffers that never limit: what the path and its queue hold, several times.
/// The send buffer grows there with the window.
fn config(path: &Path, congestion: CongestionAlgorithm) -> Config {
    let buffer = (4 * (path.bandwidth_delay_product() + path.queue())) as usize;
    Config {
        congestion,
        sndbuf_max: buffer,
        rcvbuf: buffer,
        rcvbuf_max: buffer,
        reassembly_segments: usize::MAX,
        ..Config::default()
    }
}

fn add_transfer(
    world: &mut World,
    path: &Path,
    congestion: CongestionAlgorithm,
    starts: Duration,
    links: [LinkId; 2],
) -> crate::Flow {
    let config = config(path, congestion);
    let sender = HostConfig { config: config.clone(), opens_after: Some(starts), ..HostConfig::default() };
    let receiver = HostConfig { config, ..HostConfig::default() };
    world.add_flow(
        [sender, receiver],
        [Box::<Source>::default(), Box::<Sink>::default()],
        [vec![links[0]], vec![links[1]]],
    )
}

/// Measures one transfer for `span` after `warm_up`.
///
/// # Errors
///
/// What went wrong in the world.
pub fn measure(
    path: &Path,
    congestion: CongestionAlgorithm,
    seed: u64,
    warm_up: Duration,
    span: Duration,
) -> Result<Goodput, String> {
    let mut world = World::trusting(seed);
    let links = path.links().map(|link| world.add_link(link));
    let flow = add_transfer(&mut world, path, congestion, Duration::ZERO, links);
    world.run_for(warm_up)?;
    let before = Counts::of(&world, flow, links[0]);
    world.run_for(span)?;
    let after = Counts::of(&world, flow, links[0]);
    let sent = (after.sent - before.sent) as f64 / f64::from(PAYLOAD);
    let retransmits = (after.retransmits - before.retransmits) as f64;
    let gone = (after.gone - before.gone) as f64;
    Ok(Goodput {
        mbits: (after.received - before.received) as f64 * 8e-6 / span.as_secs_f64(),
        retransmitted: retransmits / sent,
        spurious: ((retransmits - gone) / sent).max(0.0),
        timeouts: (after.timeouts - before.timeouts) as u32,
    })
}

/// Counters of a transfer at one moment.
struct Counts {
    sent: u64,
    received: u64,
    retransmits: u64,
    timeouts: u64,
    /// Data segments lost or dropped.
    gone: u64,
}

impl Counts {
    fn of(world: &World, flow: crate::Flow, link: LinkId) -> Self {
        let info = |host| world.connection(host).map(tpa_tcp::Connection::info).unwrap_or_default();
        let (sender, receiver) = (info(flow.client), info(flow.server));
        let stats = world.link_stats(link);
        Self {
            sent: sender.bytes_sent,
            received: receiver.bytes_received,
            retransmits: u64::from(sender.retransmits),
            timeouts: u64::from(sender.timeouts),
            gone: stats.lost + stats.dropped,
        }
    }
}

/// Payload rates in Mbit/s of `flows` transfers that share a path and start
/// five seconds apart, over `span` after `warm_up`.
///
/// # Errors
///
/// What went wrong in the world.
pub fn share(
    path: &Path,
    congestion: &[CongestionAlgorithm],
    seed: u64,
    warm_up: Duration,
    span: Duration,
) -> Result<Vec<f64>, String> {
    let mut world = World::trusting(seed);
    let links = path.links().map(|link| world.add_link(link));
    let starts = (0..).map(|index| Duration::from_secs(5 * index));
    let flows: Vec<_> = congestion
        .iter()
        .zip(starts)
        .map(|(&algorithm, start)| add_transfer(&mut world, path, algorithm, start, links))
        .collect();
    world.run_for(warm_up)?;
    let received = |world: &World| -> Vec<u64> {
        flows.iter().map(|&flow| Counts::of(world, flow, links[0]).received).collect()
    };
    let before = received(&world);
    world.run_for(span)?;
    let after = received(&world);
    let rate = |(after, before): (&u64, &u64)| (after - before) as f64 * 8e-6 / span.as_secs_f64();
    Ok(after.iter().zip(&before).map(rate).collect())
}

/// Jain's index of fairness: 1 when all rates are equal, 1/n when one flow has
/// everything (Jain, Chiu, Hawe 1984).
pub fn jain_index(rates: &[f64]) -> f64 {
    let sum: f64 = rates.iter().sum();
    let squares: f64 = rates.iter().map(|rate| rate * rate).sum();
    sum * sum / (rates.len() as f64 * squares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jains_index_is_one_for_equal_shares_and_falls_with_the_gap() {
        assert!((jain_index(&[5.0, 5.0]) - 1.0).abs() < 1e-12);
        assert!((jain_index(&[1.0, 0.0]) - 0.5).abs() < 1e-12);
        assert!((jain_index(&[3.0, 1.0]) - 0.8).abs() < 1e-12);
    }
}
