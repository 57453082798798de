//! Connections live on while the program forks, computes or sleeps.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use crate::harness::{Device, KernelTcp, Redis, Role, Stage, PORT};

/// Lets redis save itself each second while a benchmark writes.
fn save_under_load(device: Device) {
    let stage = Stage::new(device);
    let redis = stage.redis(&["--save", "1 1"]);
    redis.ask("DEBUG POPULATE 100000 filler 100");
    let arguments = ["-t", "set,get", "-c", "50", "-n", "200000", "-r", "100000", "-d", "100", "--csv"];
    let saves = saves(&redis);
    let transfer = redis.through_stack(|| {
        stage.benchmark(&arguments, Duration::from_secs(60));
        stage.benchmark(&arguments, Duration::from_secs(60));
    });
    assert!(transfer.received > 2 * 200_000 * 100, "{transfer:?}");
    assert!(self::saves(&redis) > saves, "it saved under load");
    let info = redis.ask("INFO persistence");
    assert!(info.contains("rdb_last_bgsave_status:ok"), "{info}");
}

fn saves(redis: &Redis) -> u64 {
    let info = redis.ask("INFO persistence");
    let count = info.lines().find_map(|line| line.strip_prefix("rdb_saves:"));
    count.and_then(|count| count.trim().parse().ok()).expect("INFO persistence shows rdb_saves")
}

#[test]
fn saving_under_load_succeeds_and_the_load_goes_on_over_af_xdp() {
    save_under_load(Device::AfXdp);
}

#[test]
fn saving_under_load_succeeds_and_the_load_goes_on_over_memif() {
    save_under_load(Device::Memif(Role::Server));
}

/// Sends small commands for five seconds, at a rate that fits the receive
/// buffer. Returns how many.
fn send_meanwhile(stream: &mut TcpStream) -> usize {
    let end = Instant::now() + Duration::from_secs(5);
    let mut sent = 0;
    while Instant::now() < end {
        stream.write_all(b"PING\r\n").expect("room in the send buffer");
        sent += 1;
        std::thread::sleep(Duration::from_millis(2));
    }
    sent
}

#[test]
fn a_peer_that_sends_while_the_program_sleeps_is_acknowledged_all_the_while() {
    let stage = Stage::new(Device::AfXdp);
    let redis = stage.redis(&[]);
    let address = SocketAddrV4::new(stage.host().parse::<Ipv4Addr>().unwrap(), PORT);
    let received = redis.stack();
    let before = KernelTcp::of(&stage.client);
    let (sent, answered) = std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| redis.ask("DEBUG SLEEP 5"));
        std::thread::sleep(Duration::from_millis(300));
        let counts = stage.client.within(|| {
            let mut stream = TcpStream::connect(address).expect("redis");
            let sent = send_meanwhile(&mut stream);
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            (sent, read_pongs(&mut stream, sent))
        });
        sleeper.join().expect("DEBUG SLEEP");
        counts
    });
    let after = KernelTcp::of(&stage.client);
    assert_eq!(answered, sent, "replies after the sleep");
    assert_eq!(after.timeouts, before.timeouts, "retransmission timeouts of the peer");
    assert_eq!(after.retransmitted, before.retransmitted, "segments that the peer sent again");
    assert_eq!(redis.stack().since(&received, "bytes_received"), 6 * sent as u64);
}

fn read_pongs(stream: &mut TcpStream, expected: usize) -> usize {
    const PONG: &[u8] = b"+PONG\r\n";
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while bytes.len() < expected * PONG.len() {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("redis' replies: {error}"),
        }
    }
    bytes.chunks(PONG.len()).filter(|chunk| *chunk == PONG).count()
}
