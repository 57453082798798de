//! What can be different from one connection to the next, drawn from a seed.

use tpa_sim::{
    Bursts, Exchange, Flow, GivesUp, HostConfig, LinkConfig, LinkId, Loss, Plan, Random, SynQueue, World,
};
use tpa_tcp::{Config, CongestionAlgorithm, Duration, EcnMode, Keepalive, MtuProbing};

/// The world of a seed: one connection over two links.
pub fn world(seed: u64) -> (World, Flow, [LinkId; 2]) {
    let mut random = Random::new(seed);
    let mut plans = [plan(&mut random), plan(&mut random)];
    shorten(&mut plans);
    if random.chance(0.05) {
        let index = random.pick(&[0, 1]);
        plans[index].gives_up = Some(gives_up(&mut random, &plans));
    }
    let watches = plans.iter().any(|plan| plan.gives_up.is_some());
    let simultaneous = random.chance(0.05);
    let mut hosts = [true, simultaneous].map(|opens| host(&mut random, opens, watches));
    let faulty = !random.chance(0.2);
    let mut links = [link(&mut random, faulty), link(&mut random, faulty)];
    if !simultaneous && !watches {
        hosts[1].syn_queue = syn_queue(&mut random);
    }
    if hosts[1].syn_queue.is_some_and(|queue| queue.places == 0 || queue.flood.is_some()) {
        spare_the_handshake(&mut random, &mut plans[0], &mut links[0]);
        // The smallest size that a cookie can name.
        hosts[0].mss = hosts[0].mss.max(536);
    }

    let mut world = World::checked(seed);
    let links = links.map(|link| world.add_link(link));
    let [there, back] = links;
    let [first, second] = plans;
    let [first, second] = Exchange::pair(seed, first, second);
    let flow = world.add_flow(hosts, [Box::new(first), Box::new(second)], [vec![there], vec![back]]);
    (world, flow, links)
}

fn plan(random: &mut Random) -> Plan {
    let largest = random.pick(&[0, 1, 3000, 30_000, 150_000]);
    let least = random.pick(&[2304, 8192, 100_000]);
    Plan {
        writes: random.between(0, largest) as usize,
        write_size: random.pick(&[1, 100, 1460, 20_000, 100_000]),
        read_size: random.pick(&[50, 1460, 5000, 100_000]),
        pause: Duration::from_micros(random.pick(&[10, 500, 5000, 50_000])),
        attentive: random.chance(0.4),
        sleeps: Duration::from_millis(random.pick(&[0, 0, 0, 1500])),
        naps: random.pick(&[0.0, 0.0, 0.0, 0.02]),
        nodelay: random.chance(0.5),
        corks: random.chance(0.1),
        mores: random.chance(0.1),
        urgents: random.chance(0.1),
        quickacks: random.chance(0.1),
        rcvbufs: random.chance(0.1).then_some((least, 4 * least)),
        half_close: random.chance(0.7),
        gives_up: None,
    }
}

/// Tiny writes or reads of long streams only cost time.
fn shorten([first, second]: &mut [Plan; 2]) {
    let limit = |plan: &Plan, peer: &Plan| plan.writes.min(plan.write_size * 400).min(peer.read_size * 400);
    (first.writes, second.writes) = (limit(first, second), limit(second, first));
}

fn gives_up(random: &mut Random, plans: &[Plan; 2]) -> GivesUp {
    let total = plans.iter().map(|plan| plan.writes as u64).sum();
    GivesUp { after: random.between(0, total) as usize, aborts: random.chance(0.5) }
}

fn host(random: &mut Random, opens: bool, watches: bool) -> HostConfig {
    HostConfig {
        config: config(random, watches),
        mss: random.pick(&[100, 536, 1460, 1460, 8960]),
        opens_after: opens.then(|| Duration::from_micros(random.between(0, 3000))),
        syn_queue: None,
        segmentation: random.chance(0.3),
        coalescing: Duration::from_micros(random.pick(&[0, 0, 50, 1000])),
    }
}

fn config(random: &mut Random, watches: bool) -> Config {
    let rcvbuf = random.pick(&[4096, 20_000, 65_535, 300_000, 1 << 20]);
    // A RST that is lost leaves the other end with nothing to wait for.
    let keepalive = Keepalive { idle: Duration::from_secs(20), interval: Duration::from_secs(5), count: 9 };
    Config {
        congestion: random.pick(&CongestionAlgorithm::ALL),
        ecn: random.pick(&[EcnMode::Off, EcnMode::Accept, EcnMode::On]),
        pacing: random.chance(0.2),
        timestamps: !random.chance(0.25),
        sack: !random.chance(0.3),
        window_scaling: !random.chance(0.25),
        rcvbuf,
        rcvbuf_max: random.pick(&[rcvbuf, 6 << 20]),
        sndbuf: random.pick(&[5000, 60_000, 256 * 1024]),
        sndbuf_max: random.pick(&[60_000, 4 << 20]),
        reassembly_segments: random.pick(&[3, 40, 1024]),
        mtu_probing: random.pick(&[MtuProbing::BlackHole, MtuProbing::BlackHole, MtuProbing::Always]),
        keepalive: (watches || random.chance(0.05)).then_some(keepalive),
        // On the worst links even eight losses in a row happen.
        syn_retries: 12,
        synack_retries: 12,
        data_retries: 30,
        orphan_retries: 30,
        ..Config::default()
    }
}

fn link(random: &mut Random, faulty: bool) -> LinkConfig {
    let delay = random.pick(&[50, 1000, 10_000, 50_000]);
    let mut link = LinkConfig {
        delay: Duration::from_micros(delay),
        jitter: Duration::from_micros(random.pick(&[0, delay / 10, delay])),
        rate: random.pick(&[0, 0, 1_000_000, 20_000_000]),
        queue: random.pick(&[30_000, 200_000]),
        mark_above: random.pick(&[None, Some(0), Some(15_000)]),
        mtu: random.pick(&[usize::MAX, usize::MAX, usize::MAX, 1500, 1280, 576]),
        reports_mtu: random.chance(0.7),
        ..LinkConfig::default()
    };
    if faulty {
        link.loss = loss(random);
        link.duplication = random.pick(&[0.0, 0.01, 0.05]);
        link.reordering = random.pick(&[0.0, 0.02, 0.2]);
        link.reordering_extent = Duration::from_micros(random.pick(&[100, 2 * delay + 1000]));
        link.corruption = random.pick(&[0.0, 0.005, 0.02]);
    }
    link
}

fn syn_queue(random: &mut Random) -> Option<SynQueue> {
    let places = random.pick(&[0, 1, 8]);
    let flood = random.pick(&[None, Some(Duration::from_millis(1)), Some(Duration::from_millis(50))]);
    random.chance(0.3).then_some(SynQueue { places, flood })
}

/// What a cookie cannot mend: the listener knows nothing until the last ACK, or
/// the very first byte, has come, and answers anything else with a RST (RFC 4987
/// 3.6). So the client sends something, in order, and of its first segments the
/// SYN alone is lost.
fn spare_the_handshake(random: &mut Random, client: &mut Plan, there: &mut LinkConfig) {
    client.half_close = true;
    let mut lost = vec![random.between(40, 100), random.between(120, 200)];
    if random.chance(0.5) {
        lost.insert(0, 0);
    }
    *there = LinkConfig {
        loss: Loss::Frames(lost),
        reordering: 0.0,
        corruption: 0.0,
        mtu: usize::MAX,
        ..there.clone()
    };
}

fn loss(random: &mut Random) -> Loss {
    match random.between(0, 5) {
        0 => Loss::Never,
        1 => Loss::Bursty(Bursts { start: 0.01, end: random.pick(&[0.4, 0.6]), loss: 0.9 }),
        2 => {
            let first = random.between(0, 12);
            Loss::Frames(vec![first, first + random.between(1, 3), first + random.between(4, 40)])
        }
        _ => Loss::Independent(random.pick(&[0.01, 0.03, 0.1])),
    }
}
