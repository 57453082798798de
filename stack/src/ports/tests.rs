//! Blocks as the kernel and the steering see them. Tests that bind ports do it
//! in a network namespace of their own, which needs root.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsRawFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sched::{CloneFlags, unshare};
use tpa_tcp::wire::IpAddress;

use super::*;
use crate::fork;

/// Steering that remembers.
#[derive(Default)]
struct Rules {
    blocks: Mutex<Vec<u16>>,
    broken: AtomicBool,
}

impl Rules {
    fn blocks(&self) -> Vec<u16> {
        self.blocks.lock().unwrap().clone()
    }

    fn answer(&self) -> io::Result<()> {
        if self.broken.load(Ordering::Relaxed) { Err(io::ErrorKind::OutOfMemory.into()) } else { Ok(()) }
    }
}

impl Steering for Rules {
    fn add_listener(&self, _: IpAddress, _: u16) -> io::Result<()> {
        unreachable!()
    }
    fn remove_listener(&self, _: IpAddress, _: u16) -> io::Result<()> {
        unreachable!()
    }
    fn set_local_addresses(&self, _: &[IpAddress]) -> io::Result<()> {
        unreachable!()
    }
    fn add_port_block(&self, first: u16) -> io::Result<()> {
        self.answer()?;
        self.blocks.lock().unwrap().push(first);
        Ok(())
    }
    fn remove_port_block(&self, first: u16) -> io::Result<()> {
        self.answer()?;
        self.blocks.lock().unwrap().retain(|block| *block != first);
        Ok(())
    }
}

fn at(secs: u64) -> Instant {
    Instant::from_micros(secs * 1_000_000)
}

fn block_of(port: u16) -> u16 {
    port - port % PORT_BLOCK
}

fn in_namespace(body: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(|| {
        // A child forked meanwhile would hold our ports a little longer.
        let _no_forks = fork::FORKS.read();
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace needs root");
        body();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn kernel_can_bind(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

#[test]
fn connections_share_a_block_until_its_ports_are_used_up() {
    let rules = Rules::default();
    let mut ports = PortBlocks::new(false);
    let mut used = HashSet::new();
    for _ in 0..64 {
        let port = ports.allocate(Some(&rules), |port| used.contains(&port)).unwrap();
        assert!(used.insert(port));
    }
    assert_eq!(rules.blocks(), [block_of(*used.iter().next().unwrap())]);
    let next = ports.allocate(Some(&rules), |port| used.contains(&port)).unwrap();
    assert!(!used.contains(&next));
    assert_eq!(rules.blocks().len(), 2);
}

#[test]
fn a_port_serves_connections_to_different_peers() {
    let mut ports = PortBlocks::new(false);
    let first = ports.allocate(None, |_| false).unwrap();
    let again = ports.allocate(None, |port| port != first && block_of(port) == block_of(first)).unwrap();
    assert_eq!(first, again);
    ports.release(first, at(0));
    ports.sweep(None, at(1000));
    assert_eq!(ports.blocks.len(), 1, "one connection is left");
}

#[test]
fn ports_come_in_no_order() {
    let mut ports = PortBlocks::new(false);
    let mut used = Vec::new();
    for _ in 0..64 {
        used.push(ports.allocate(None, |port| used.contains(&port)).unwrap());
    }
    let successors = used.windows(2).filter(|pair| pair[1] == pair[0] + 1).count();
    assert!(successors < 32, "{used:?}");
}

#[test]
fn no_port_left_is_eaddrnotavail() {
    let mut ports = PortBlocks::new(false);
    let error = ports.allocate(None, |_| true).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL));
    assert!(ports.blocks.is_empty());
}

#[test]
fn two_workers_of_a_process_never_hold_the_same_block_by_number() {
    let (mut one, mut other) = (PortBlocks::new(false), PortBlocks::new(false));
    let port = one.allocate(None, |_| false).unwrap();
    assert_eq!(other.claim(port, None).unwrap_err().raw_os_error(), Some(libc::EADDRINUSE));
    drop(one);
    other.claim(port, None).unwrap();
}

#[test]
fn an_empty_block_goes_after_a_minute_and_not_before() {
    let rules = Rules::default();
    let mut ports = PortBlocks::new(false);
    let port = ports.allocate(Some(&rules), |_| false).unwrap();
    ports.sweep(Some(&rules), at(500));
    assert_eq!(rules.blocks().len(), 1);
    ports.release(port, at(500));
    ports.sweep(Some(&rules), at(559));
    assert_eq!(rules.blocks().len(), 1);
    ports.sweep(Some(&rules), at(560));
    assert!(rules.blocks().is_empty());
    assert!(ports.blocks.is_empty());
}

#[test]
fn a_block_that_is_used_again_stays() {
    let mut ports = PortBlocks::new(false);
    let port = ports.allocate(None, |_| false).unwrap();
    ports.release(port, at(0));
    ports.allocate(None, |_| false).unwrap();
    ports.sweep(None, at(100));
    assert_eq!(ports.blocks.len(), 1);
}

#[test]
fn a_block_stays_held_while_its_steering_cannot_be_ended() {
    let rules = Rules::default();
    let mut ports = PortBlocks::new(false);
    let port = ports.allocate(Some(&rules), |_| false).unwrap();
    ports.release(port, at(0));
    rules.broken.store(true, Ordering::Relaxed);
    ports.sweep(Some(&rules), at(100));
    assert_eq!(ports.blocks.len(), 1);
    rules.broken.store(false, Ordering::Relaxed);
    ports.sweep(Some(&rules), at(101));
    assert!(ports.blocks.is_empty());
}

#[test]
fn a_block_that_cannot_be_steered_is_given_back() {
    in_namespace(|| {
        let rules = Rules::default();
        rules.broken.store(true, Ordering::Relaxed);
        let mut ports = PortBlocks::new(true);
        assert!(ports.claim(40_000, Some(&rules)).is_err());
        assert!(ports.blocks.is_empty());
        assert!(kernel_can_bind(40_001));
    });
}

#[test]
fn the_kernel_gives_a_held_port_to_nobody_until_the_block_goes() {
    in_namespace(|| {
        let mut ports = PortBlocks::new(true);
        let port = ports.allocate(None, |_| false).unwrap();
        let first = block_of(port);
        assert!((first..first + PORT_BLOCK).all(|port| !kernel_can_bind(port)));
        assert!(kernel_can_bind(first - 1) && kernel_can_bind(first + PORT_BLOCK));
        ports.release(port, at(0));
        ports.sweep(None, at(60));
        assert!((first..first + PORT_BLOCK).all(kernel_can_bind));
    });
}

#[test]
fn a_block_costs_one_descriptor_out_of_the_programs_way() {
    in_namespace(|| {
        // A descriptor table of this thread's own: other tests open descriptors too.
        unshare(CloneFlags::CLONE_FILES).unwrap();
        let count = || std::fs::read_dir("/proc/thread-self/fd").unwrap().count();
        let before = count();
        let mut ports = PortBlocks::new(true);
        ports.claim(40_000, None).unwrap();
        assert_eq!(count(), before + 1);
        let Reservation::Bound(queue) = &ports.blocks[0]._reservation else { panic!("not bound") };
        assert!(queue.as_raw_fd() > 200);
        assert!(fork::is_internal(queue.as_raw_fd()));
        drop(ports);
        assert_eq!(count(), before);
    });
}

#[test]
fn a_block_with_a_port_in_use_is_skipped() {
    in_namespace(|| {
        // Two blocks; the first has a port that is taken.
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40127").unwrap();
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 40_010)).unwrap();
        for _ in 0..8 {
            let mut ports = PortBlocks::new(true);
            let port = ports.allocate(None, |_| false).unwrap();
            assert_eq!(block_of(port), 40_064);
        }
        let _both = TcpListener::bind((Ipv4Addr::LOCALHOST, 40_070)).unwrap();
        let error = PortBlocks::new(true).allocate(None, |_| false).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL));
    });
}

#[test]
fn the_last_block_of_all_can_be_held() {
    in_namespace(|| {
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "65472 65535").unwrap();
        let port = PortBlocks::new(true).allocate(None, |port| port != 65535).unwrap();
        assert_eq!(port, 65535);
        PortBlocks::new(true).claim(1, None).unwrap();
    });
}

#[test]
fn a_port_that_the_program_has_bound_is_claimed_with_the_rest_of_its_block() {
    in_namespace(|| {
        let rules = Rules::default();
        let program = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 40_010)).unwrap();
        let mut ports = PortBlocks::new(true);
        ports.claim(40_010, Some(&rules)).unwrap();
        assert_eq!(rules.blocks(), [block_of(40_010)]);
        assert!(!kernel_can_bind(40_011));
        drop(program);
        let _other = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 50_011)).unwrap();
        let error = ports.claim(50_010, Some(&rules)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EADDRINUSE));
    });
}
