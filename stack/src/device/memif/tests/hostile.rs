//! Peers that break the rules of the rings: nothing of ours may suffer.

use std::sync::atomic::Ordering::Relaxed;

use super::*;
use crate::device::memif::handshake::Handshake;
use crate::device::memif::link::Link;
use crate::device::memif::ring::{Descriptor, FLAG_NEXT, Ring};

/// A peer whose rings the test writes by hand.
struct Stranger {
    link: Link,
    /// Keeps the connection.
    _handshake: Handshake,
}

impl Stranger {
    /// Ring in which the stranger sends.
    fn tx(&self) -> Ring {
        self.link.tx[0].ring
    }

    /// Ring in which it receives.
    fn rx(&self) -> Ring {
        self.link.rx[0].ring
    }

    /// Descriptor of one of its slots, 64 a ring: those that it sends in come
    /// first.
    fn slot(&self, ring: usize, slot: usize, length: u32) -> Descriptor {
        let offset = self.link.layout.unwrap().offset(ring, slot) as u32;
        Descriptor { flags: 0, region: 0, length, offset }
    }

    /// Fills slots from index 0 on and publishes them.
    fn publish(&self, descriptors: &[Descriptor]) {
        for (index, descriptor) in descriptors.iter().enumerate() {
            self.tx().write(index as u16, *descriptor);
        }
        self.tx().head().store(descriptors.len() as u16, Relaxed);
    }

    fn fill(&self, offset: u32, bytes: &[u8]) {
        let at = self.link.regions[0].base().as_ptr();
        // SAFETY: the test writes within a slot of the region.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at.add(offset as usize), bytes.len()) };
    }
}

const SLOT: u32 = 2048;

/// Our server, and a client that will misbehave.
fn server_and_stranger(folder: &TempFolder) -> (Face, Stranger) {
    let options = |role| MemifOptions { buffer_size: SLOT, ..options(folder.path(), role) };
    let mut server = open_one(&options(Role::Server));
    let socket = control::connect_to(&folder.path().join("s")).unwrap();
    let mut handshake = Handshake::join(socket, Instant::now());
    let terms = check(&options(Role::Client), 1).unwrap();
    let mut link = None;
    settle(&mut [&mut server], |faces| {
        link = link.take().or_else(|| handshake.advance(&terms, None, Instant::now()).unwrap());
        link.is_some() && faces[0].link_up()
    });
    (server, Stranger { link: link.unwrap(), _handshake: handshake })
}

/// Our client, and a server that will misbehave.
fn client_and_stranger(folder: &TempFolder) -> (Face, Stranger) {
    let options = |role| MemifOptions { buffer_size: SLOT, ..options(folder.path(), role) };
    let listener = Listener::bind(&folder.path().join("s")).unwrap();
    let mut client = open_one(&options(Role::Client));
    let terms = check(&options(Role::Server), 1).unwrap();
    client.on_control();
    let socket = control::accept(&listener).unwrap();
    let mut handshake = Handshake::serve(socket, &terms, Instant::now()).unwrap();
    let mut link = None;
    settle(&mut [&mut client], |faces| {
        link = link.take().or_else(|| handshake.advance(&terms, None, Instant::now()).unwrap());
        link.is_some() && faces[0].link_up()
    });
    (client, Stranger { link: link.unwrap(), _handshake: handshake })
}

#[test]
fn descriptors_out_of_bounds_cost_their_frame_alone() {
    let folder = TempFolder::new();
    let (mut server, stranger) = server_and_stranger(&folder);
    let good = stranger.slot(0, 0, 100);
    let region = stranger.link.regions[0].len() as u32;
    stranger.fill(good.offset, &pattern(1, 100));
    stranger.publish(&[
        Descriptor { region: 1, ..good },
        Descriptor { region: u16::MAX, ..good },
        Descriptor { offset: region - 99, ..good },
        Descriptor { offset: region, ..good },
        Descriptor { offset: u32::MAX, ..good },
        Descriptor { length: u32::MAX, ..good },
        Descriptor { length: region - good.offset + 1, ..good },
        Descriptor { length: 0, ..good },
        Descriptor { length: SLOT + 1, ..good },
        Descriptor { offset: u32::MAX, length: u32::MAX, ..good },
        good,
    ]);
    assert_eq!(receive(&mut server), [pattern(1, 100)]);
    assert_eq!(server.stats().rx_errors, 10);
    assert!(server.link_up());
    assert_eq!(server.free_buffers(), 256);
}

#[test]
fn a_chain_is_joined_into_one_frame() {
    let folder = TempFolder::new();
    let (mut server, stranger) = server_and_stranger(&folder);
    let frame = pattern(5, 2000);
    let parts: Vec<Descriptor> = [800u32, 800, 400]
        .iter()
        .enumerate()
        .map(|(slot, &length)| {
            let part = stranger.slot(0, slot, length);
            stranger.fill(part.offset, &frame[slot * 800..][..length as usize]);
            Descriptor { flags: if slot < 2 { FLAG_NEXT } else { 0 }, ..part }
        })
        .collect();
    let single = stranger.slot(0, 3, 60);
    stranger.fill(single.offset, &pattern(6, 60));
    // First only a part of the chain: the rest is waited for.
    stranger.publish(&parts[..2]);
    assert!(receive(&mut server).is_empty());
    stranger.publish(&[&parts[..], &[single]].concat());
    assert_eq!(receive(&mut server), [frame, pattern(6, 60)]);
    assert_eq!(server.stats().rx_errors, 0);
}

#[test]
fn a_chain_that_does_not_fit_is_dropped_whole() {
    let folder = TempFolder::new();
    let (mut server, stranger) = server_and_stranger(&folder);
    let part = |slot, flags| Descriptor { flags, ..stranger.slot(0, slot, 1500) };
    let single = stranger.slot(0, 2, 60);
    stranger.fill(single.offset, &pattern(6, 60));
    stranger.publish(&[part(0, FLAG_NEXT), part(1, 0), single]);
    assert_eq!(receive(&mut server), [pattern(6, 60)]);
    assert_eq!(server.stats().rx_errors, 1);
}

#[test]
fn a_chain_with_a_bad_link_is_dropped_whole() {
    let folder = TempFolder::new();
    let (mut server, stranger) = server_and_stranger(&folder);
    let first = Descriptor { flags: FLAG_NEXT, ..stranger.slot(0, 0, 100) };
    let second = Descriptor { region: 7, ..stranger.slot(0, 1, 100) };
    stranger.publish(&[first, second]);
    assert!(receive(&mut server).is_empty());
    assert_eq!(server.stats().rx_errors, 1);
    assert_eq!(server.free_buffers(), 256);
}

#[test]
fn a_chain_without_end_does_not_block_the_ring() {
    let folder = TempFolder::new();
    let (mut server, stranger) = server_and_stranger(&folder);
    let endless = Descriptor { flags: FLAG_NEXT, ..stranger.slot(0, 0, 10) };
    stranger.publish(&[endless; 64]);
    assert!(receive(&mut server).is_empty());
    assert_eq!(server.stats().rx_errors, 1);
    stranger.tx().write(64, stranger.slot(0, 0, 10));
    stranger.tx().head().store(65, Relaxed);
    assert_eq!(receive(&mut server).len(), 1);
}

#[test]
fn a_chain_without_end_does_not_block_the_ring_of_a_client_either() {
    let folder = TempFolder::new();
    let (mut client, stranger) = client_and_stranger(&folder);
    // After ten frames not all slots are offered again.
    for filled in [10, 64] {
        let flags = if filled == 64 { FLAG_NEXT } else { 0 };
        for slot in stranger.tx().tail().load(Relaxed)..filled {
            stranger.tx().write(slot, Descriptor { flags, length: 60, ..stranger.tx().read(slot) });
        }
        stranger.tx().tail().store(filled, Relaxed);
        assert_eq!(receive(&mut client).len(), if filled == 10 { 10 } else { 0 });
    }
    assert_eq!(client.stats().rx_errors, 1);
    stranger.tx().write(64, Descriptor { length: 60, ..stranger.tx().read(64) });
    stranger.tx().tail().store(65, Relaxed);
    assert_eq!(receive(&mut client).len(), 1);
}

#[test]
fn an_index_that_runs_ahead_ends_the_link() {
    for head in [65, 1000, u16::MAX] {
        let folder = TempFolder::new();
        let (mut server, stranger) = server_and_stranger(&folder);
        stranger.tx().head().store(head, Relaxed);
        assert!(receive(&mut server).is_empty());
        assert!(!server.link_up());
        server.on_control();
        assert_eq!(server.stats().disconnects, 1);
    }
}

#[test]
fn a_server_that_fills_slots_nobody_offered_is_left() {
    let folder = TempFolder::new();
    let (mut client, stranger) = client_and_stranger(&folder);
    stranger.tx().tail().store(65, Relaxed);
    assert!(receive(&mut client).is_empty());
    assert!(!client.link_up());
}

#[test]
fn a_receivers_index_out_of_range_ends_the_link() {
    let folder = TempFolder::new();
    let (mut client, stranger) = client_and_stranger(&folder);
    // As if frames had been taken that were never sent.
    stranger.rx().tail().store(1, Relaxed);
    send_or_drop(&mut client);
    assert!(!client.link_up());
    let folder = TempFolder::new();
    let (mut server, stranger) = server_and_stranger(&folder);
    stranger.rx().head().store(65, Relaxed);
    send_or_drop(&mut server);
    assert!(!server.link_up());
}

fn send_or_drop(face: &mut Face) {
    let mut packet = face.alloc().unwrap();
    packet.set_len(60);
    let mut batch = Batch::new();
    batch.push(packet);
    face.tx_burst(&mut batch);
    drop(batch);
    assert_eq!(face.free_buffers(), 256);
}

#[test]
fn slots_offered_out_of_bounds_are_never_written() {
    let bad = |stranger: &Stranger| {
        let region = stranger.link.regions[0].len() as u32;
        let good = stranger.slot(1, 0, SLOT);
        [
            Descriptor { region: 1, ..good },
            Descriptor { offset: region - SLOT + 1, ..good },
            Descriptor { offset: u32::MAX, ..good },
            Descriptor { length: u32::MAX, ..good },
        ]
    };
    for case in 0..4 {
        let folder = TempFolder::new();
        let (mut server, stranger) = server_and_stranger(&folder);
        stranger.rx().write(0, bad(&stranger)[case]);
        stranger.rx().head().store(64, Relaxed);
        send_or_drop(&mut server);
        assert!(!server.link_up());
    }
}

#[test]
fn descriptors_in_our_own_region_are_not_believed() {
    let folder = TempFolder::new();
    let (mut client, stranger) = client_and_stranger(&folder);
    let ring = stranger.tx();
    // Our first slot holds a frame; what the server says of its place is void.
    let place = stranger.tx().read(0);
    stranger.fill(place.offset, &pattern(3, 80));
    ring.write(0, Descriptor { flags: 0, region: 9, length: 80, offset: 0xFFFF_0000 });
    ring.write(1, Descriptor { flags: 0, region: 0, length: SLOT + 1, offset: 0 });
    ring.tail().store(2, Relaxed);
    assert_eq!(receive(&mut client), [pattern(3, 80)]);
    assert_eq!(client.stats().rx_errors, 1);
    // And the slots that we offer again, a quarter at a time, are whole.
    for _ in 0..40 {
        let tail = ring.tail().load(Relaxed);
        ring.write(tail, Descriptor { length: 60, ..ring.read(tail) });
        ring.tail().store(tail.wrapping_add(1), Relaxed);
        assert_eq!(receive(&mut client).len(), 1);
    }
    assert_eq!(ring.read(0), place);
}

#[test]
fn bytes_that_change_while_they_are_copied_garble_and_nothing_else() {
    let folder = TempFolder::new();
    let (mut server, stranger) = server_and_stranger(&folder);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        // A stranger that writes random descriptors and indices as fast as it can.
        scope.spawn(|| {
            let mut state = 12345u64;
            let mut random = move || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state >> 16
            };
            while !stop.load(Relaxed) {
                let slot = random() as u16 % 64;
                let (length, offset) = (random() as u32, random() as u32);
                let (flags, region) = (random() as u16 & 1, random() as u16 & 1);
                stranger.tx().write(slot, Descriptor { flags, region, length, offset });
                stranger.rx().write(slot, Descriptor { flags, region, length: length >> 12, offset });
                let tail = stranger.tx().tail().load(Relaxed);
                stranger.tx().head().store(tail.wrapping_add(random() as u16 % 64), Relaxed);
            }
        });
        let end = Instant::now() + Duration::from_millis(300);
        while Instant::now() < end {
            for frame in receive(&mut server) {
                assert!(frame.len() <= SLOT as usize);
            }
        }
        stop.store(true, Relaxed);
    });
    assert_eq!(server.free_buffers(), 256);
}
