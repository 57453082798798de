//! Two devices in one process: frames, signals, reconnection, refusals.

mod death;
mod hostile;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};

use super::*;
use crate::device::{Arm, Batch};
use crate::packet::PacketFlags;

/// A folder that goes when it is dropped.
pub struct TempFolder(PathBuf);

impl TempFolder {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("memif-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub type Face = Box<dyn Device>;

/// Options of a test: small rings, no wait.
pub fn options(path: &Path, role: Role) -> MemifOptions {
    MemifOptions { ring_size: 64, connect_wait_ms: 0, ..MemifOptions::new(path.join("s"), role) }
}

pub fn open_one(options: &MemifOptions) -> Face {
    open(options, 1).unwrap().workers.remove(0)
}

/// Runs the control sides until `done`, for five seconds at most.
pub fn settle(faces: &mut [&mut Face], mut done: impl FnMut(&mut [&mut Face]) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !done(faces) {
        assert!(Instant::now() < deadline, "the devices did not settle");
        faces.iter_mut().for_each(|face| face.on_control());
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub fn connect_all(faces: &mut [&mut Face]) {
    settle(faces, |faces| faces.iter().all(|face| face.link_up()));
}

/// A server and a client that are connected, in this order.
fn pair_with(folder: &TempFolder, change: impl Fn(&mut MemifOptions)) -> (Face, Face) {
    let face = |role| {
        let mut options = options(folder.path(), role);
        change(&mut options);
        open_one(&options)
    };
    let (mut server, mut client) = (face(Role::Server), face(Role::Client));
    connect_all(&mut [&mut server, &mut client]);
    (server, client)
}

fn pair(folder: &TempFolder) -> (Face, Face) {
    pair_with(folder, |_| {})
}

/// Bytes of a frame that its number and length determine.
pub fn pattern(number: u32, len: usize) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9E37_79B9) ^ len as u32;
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(step).collect()
}

pub fn send(face: &mut Face, bytes: &[u8]) {
    let mut packet = face.alloc().unwrap();
    packet.buffer_mut()[..bytes.len()].copy_from_slice(bytes);
    packet.set_len(bytes.len());
    let mut batch = Batch::new();
    batch.push(packet);
    face.tx_burst(&mut batch);
    assert!(batch.is_empty(), "the ring is full");
}

pub fn receive(face: &mut Face) -> Vec<Vec<u8>> {
    let mut batch = Batch::new();
    face.rx_burst(&mut batch);
    batch.iter().map(|packet| packet.bytes().to_vec()).collect()
}

fn is_readable(fd: RawFd, wait_ms: u16) -> bool {
    // SAFETY: the descriptor belongs to a device that the test holds.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], wait_ms).unwrap() == 1
}

#[test]
fn frames_of_all_sizes_arrive_byte_for_byte() {
    let folder = TempFolder::new();
    let (mut server, mut client) = pair(&folder);
    let largest = server.info().mtu + 14;
    let sizes = (1..300).chain([1499, 1514, 2047, 2048, 2049, 4096, 9014, 32768, largest - 1, largest]);
    for (number, len) in sizes.enumerate() {
        let frame = pattern(number as u32, len);
        send(&mut client, &frame);
        assert_eq!(receive(&mut server)[..], [&frame[..]], "{len} bytes to the server");
        send(&mut server, &frame);
        assert_eq!(receive(&mut client)[..], [&frame[..]], "{len} bytes to the client");
    }
    assert_eq!(client.stats().tx_frames, server.stats().rx_frames);
    assert_eq!(server.stats().rx_errors + client.stats().rx_errors, 0);
}

#[test]
fn received_frames_need_no_checksum_and_fit_their_buffers() {
    let folder = TempFolder::new();
    let (mut server, mut client) = pair(&folder);
    for (len, capacity) in [(100, 2048), (3000, 65535)] {
        send(&mut client, &pattern(0, len));
        let mut batch = Batch::new();
        server.rx_burst(&mut batch);
        assert_eq!(batch[0].flags, PacketFlags::CHECKSUM_GOOD);
        assert_eq!(batch[0].capacity(), capacity);
    }
}

#[test]
fn indices_wrap_many_times_at_every_fill() {
    let folder = TempFolder::new();
    let (mut server, mut client) = pair_with(&folder, |options| options.buffer_size = 2048);
    let (mut sent, mut received) = (0u32, 0u32);
    while sent < 200_000 {
        for _ in 0..sent % 40 + 1 {
            send(&mut server, &pattern(sent, 60));
            sent += 1;
        }
        while received < sent {
            for frame in receive(&mut client) {
                assert_eq!(frame, pattern(received, 60));
                received += 1;
            }
        }
    }
}

#[test]
fn a_full_ring_leaves_frames_with_the_sender_in_order() {
    let folder = TempFolder::new();
    let (mut server, mut client) = pair(&folder);
    for (from_server, depth) in [(false, 64), (true, 64)] {
        let (sender, receiver) =
            if from_server { (&mut server, &mut client) } else { (&mut client, &mut server) };
        let mut batch = Batch::new();
        let mut number = 0;
        while batch.is_empty() {
            let mut packet = sender.alloc().unwrap();
            packet.buffer_mut()[..4].copy_from_slice(&u32::to_ne_bytes(number));
            packet.set_len(4);
            batch.push(packet);
            number += 1;
            sender.tx_burst(&mut batch);
        }
        assert_eq!(number, depth + 1);
        let mut numbers = Vec::new();
        while numbers.len() < number as usize {
            numbers.extend(receive(receiver));
            sender.tx_burst(&mut batch);
        }
        let expected: Vec<_> = (0..number).map(|number| number.to_ne_bytes().to_vec()).collect();
        assert_eq!(numbers, expected);
    }
}

#[test]
fn frames_wait_in_the_ring_while_no_buffer_is_free() {
    let folder = TempFolder::new();
    let (mut server, mut client) = pair(&folder);
    let mut held = Vec::new();
    while let Some(packet) = server.alloc() {
        held.push(packet);
    }
    send(&mut client, &pattern(1, 3000));
    assert!(receive(&mut server).is_empty());
    assert_eq!(server.free_buffers(), 0);
    held.pop();
    assert_eq!(receive(&mut server), [pattern(1, 3000)]);
    assert_eq!(server.stats().rx_errors, 0);
}

#[test]
fn a_frame_larger_than_the_peers_slots_is_dropped_and_counted() {
    let folder = TempFolder::new();
    let mut server = open_one(&options(folder.path(), Role::Server));
    let small = MemifOptions { buffer_size: 1514, ..options(folder.path(), Role::Client) };
    let mut client = open_one(&small);
    connect_all(&mut [&mut server, &mut client]);
    send(&mut server, &pattern(0, 1515));
    send(&mut server, &pattern(1, 1514));
    assert_eq!(receive(&mut client), [pattern(1, 1514)]);
    assert_eq!(server.stats().tx_dropped, 1);
}

#[test]
fn an_armed_receiver_is_woken_and_a_polling_one_is_not() {
    let folder = TempFolder::new();
    let (mut server, mut client) = pair(&folder);
    for from_server in [false, true] {
        let (sender, sleeper) =
            if from_server { (&mut server, &mut client) } else { (&mut client, &mut server) };
        let fd = sleeper.wait_fds()[0];
        send(sender, b"polling");
        assert!(!is_readable(fd, 10));
        assert_eq!(sleeper.arm(), Arm::Pending);
        receive(sleeper);
        assert_eq!(sleeper.arm(), Arm::Armed);
        assert!(!is_readable(fd, 10));
        send(sender, b"wake up");
        assert!(is_readable(fd, 1000));
        sleeper.disarm();
        assert!(!is_readable(fd, 0));
        assert_eq!(receive(sleeper).len(), 1);
    }
}

#[test]
fn no_wake_up_is_ever_lost() {
    let folder = TempFolder::new();
    let (mut server, mut client) = pair(&folder);
    const ROUNDS: u32 = 20_000;
    // Either side sleeps at once when it has nothing to do.
    let wait = |face: &mut Face| loop {
        let frames = receive(face);
        if !frames.is_empty() {
            return frames;
        }
        if face.arm() == Arm::Armed {
            assert!(is_readable(face.wait_fds()[0], 5000), "slept through a frame");
        }
        face.disarm();
    };
    let echo = std::thread::spawn(move || {
        for _ in 0..ROUNDS {
            for frame in wait(&mut server) {
                send(&mut server, &frame);
            }
        }
        server
    });
    for round in 0..ROUNDS {
        send(&mut client, &round.to_ne_bytes());
        assert_eq!(wait(&mut client), [round.to_ne_bytes()]);
    }
    drop(echo.join().unwrap());
}

#[test]
fn a_sleeper_is_woken_by_the_first_frame_of_a_new_link() {
    let folder = TempFolder::new();
    let mut server = open_one(&options(folder.path(), Role::Server));
    assert_eq!(server.arm(), Arm::Armed);
    let fd = server.wait_fds()[0];
    let mut client = open_one(&options(folder.path(), Role::Client));
    connect_all(&mut [&mut server, &mut client]);
    assert!(!is_readable(fd, 0));
    send(&mut client, b"hello");
    assert!(is_readable(fd, 1000));
    server.disarm();
    assert_eq!(receive(&mut server).len(), 1);
}

#[test]
fn either_end_may_come_back_and_frames_flow_again() {
    let folder = TempFolder::new();
    let (mut server, mut client) = pair(&folder);
    for round in 1..=3 {
        drop(client);
        settle(&mut [&mut server], |faces| !faces[0].link_up());
        client = open_one(&options(folder.path(), Role::Client));
        connect_all(&mut [&mut server, &mut client]);
        assert_eq!(server.stats().disconnects, round);
        assert_eq!(server.stats().connects, round + 1);
        send(&mut client, &pattern(1, 500));
        assert_eq!(receive(&mut server), [pattern(1, 500)]);
    }
    for _ in 0..3 {
        drop(server);
        settle(&mut [&mut client], |faces| !faces[0].link_up());
        server = open_one(&options(folder.path(), Role::Server));
        connect_all(&mut [&mut server, &mut client]);
        send(&mut server, &pattern(2, 500));
        assert_eq!(receive(&mut client), [pattern(2, 500)]);
    }
}

#[test]
fn frames_without_a_link_are_dropped_and_counted() {
    let folder = TempFolder::new();
    let mut client = open_one(&options(folder.path(), Role::Client));
    assert!(!client.link_up());
    send(&mut client, b"nobody there");
    assert_eq!(client.stats().tx_dropped, 1);
    assert!(receive(&mut client).is_empty());
    assert_eq!(client.free_buffers(), 256);
}

#[test]
fn a_client_waits_for_its_server_at_open() {
    let folder = TempFolder::new();
    let waiting = MemifOptions { connect_wait_ms: 5000, ..options(folder.path(), Role::Client) };
    let client = std::thread::spawn(move || open_one(&waiting));
    std::thread::sleep(Duration::from_millis(150));
    let mut server = open_one(&options(folder.path(), Role::Server));
    settle(&mut [&mut server], |faces| faces[0].link_up());
    assert!(client.join().unwrap().link_up());
}

#[test]
fn a_client_without_a_server_opens_with_its_link_down() {
    let folder = TempFolder::new();
    let waiting = MemifOptions { connect_wait_ms: 50, ..options(folder.path(), Role::Client) };
    let begin = Instant::now();
    assert!(!open_one(&waiting).link_up());
    assert!((50..1000).contains(&begin.elapsed().as_millis()));
}

#[test]
fn a_second_server_on_a_path_is_refused_with_the_path_named() {
    let folder = TempFolder::new();
    let mut first = open_one(&options(folder.path(), Role::Server));
    let Err(error) = open(&options(folder.path(), Role::Server), 1) else { panic!("opened twice") };
    let path = folder.path().join("s");
    assert_eq!(
        error.to_string(),
        format!("memif: socket {}: another server is listening there", path.display())
    );
    let mut client = open_one(&options(folder.path(), Role::Client));
    connect_all(&mut [&mut first, &mut client]);
}

#[test]
fn only_the_right_secret_and_id_connect() {
    let folder = TempFolder::new();
    let with = |role, id, secret: Option<&str>| {
        open_one(&MemifOptions { id, secret: secret.map(Into::into), ..options(folder.path(), role) })
    };
    let mut server = with(Role::Server, 3, Some("open sesame"));
    for (id, secret) in [(3, None), (3, Some("open")), (4, Some("open sesame"))] {
        let mut stranger = with(Role::Client, id, secret);
        for _ in 0..50 {
            stranger.on_control();
            server.on_control();
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(!stranger.link_up() && !server.link_up());
    }
    let mut friend = with(Role::Client, 3, Some("open sesame"));
    connect_all(&mut [&mut server, &mut friend]);
}

#[test]
fn a_second_client_is_refused_and_the_first_stays() {
    let folder = TempFolder::new();
    let (mut server, mut client) = pair(&folder);
    let mut second = open_one(&options(folder.path(), Role::Client));
    for _ in 0..50 {
        server.on_control();
        second.on_control();
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(!second.link_up() && server.link_up());
    send(&mut client, b"still here");
    assert_eq!(receive(&mut server).len(), 1);
    // When the first one leaves, the second takes its place.
    drop(client);
    connect_all(&mut [&mut server, &mut second]);
}

#[test]
fn clients_that_stall_or_talk_rubbish_keep_nobody_out() {
    let folder = TempFolder::new();
    let mut server = open_one(&options(folder.path(), Role::Server));
    let path = folder.path().join("s");
    let strangers: Vec<_> = (0..40)
        .map(|number: usize| {
            server.on_control();
            let stranger = control::connect_to(&path).unwrap();
            let rubbish = vec![number as u8; [0, 1, 128, 5000][number % 4]];
            if !rubbish.is_empty() {
                nix::unistd::write(&stranger, &rubbish).unwrap();
            }
            stranger
        })
        .collect();
    let mut client = open_one(&options(folder.path(), Role::Client));
    connect_all(&mut [&mut server, &mut client]);
    drop(strangers);
}

#[test]
fn a_server_that_stalls_is_left_and_tried_again() {
    let folder = TempFolder::new();
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let mute = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).unwrap();
    let path = folder.path().join("s");
    bind(std::os::fd::AsRawFd::as_raw_fd(&mute), &UnixAddr::new(&path).unwrap()).unwrap();
    listen(&mute, Backlog::new(4).unwrap()).unwrap();
    let mut client = open_one(&options(folder.path(), Role::Client));
    client.on_control();
    drop(mute);
    let mut server = open_one(&options(folder.path(), Role::Server));
    connect_all(&mut [&mut server, &mut client]);
}

#[test]
fn each_worker_has_rings_of_its_own() {
    let folder = TempFolder::new();
    let face = |role| open(&options(folder.path(), role), 3).unwrap().workers;
    let (mut servers, mut clients) = (face(Role::Server), face(Role::Client));
    let mut all: Vec<&mut Face> = servers.iter_mut().chain(clients.iter_mut()).collect();
    connect_all(&mut all);
    for (number, client) in clients.iter_mut().enumerate() {
        send(client, &[number as u8]);
    }
    for (number, server) in servers.iter_mut().enumerate() {
        assert_eq!(receive(server), [[number as u8]]);
    }
}

#[test]
fn a_peer_with_more_rings_than_workers_is_heard_on_all() {
    let folder = TempFolder::new();
    let many = |role| MemifOptions { queues: Some(3), ..options(folder.path(), role) };
    let mut clients = open(&many(Role::Client), 3).unwrap().workers;
    let mut server = open_one(&many(Role::Server));
    settle(&mut clients.iter_mut().chain([&mut server]).collect::<Vec<_>>(), |faces| {
        faces.iter().all(|face| face.link_up())
    });
    clients.iter_mut().for_each(|client| send(client, b"hello"));
    assert_eq!(receive(&mut server).len(), 3);
}

#[test]
fn the_ends_have_addresses_of_their_own_that_stay() {
    let mac = |role| info_of(&options(Path::new("/run"), role)).mac;
    assert_ne!(mac(Role::Server), mac(Role::Client));
    assert_eq!(mac(Role::Server), mac(Role::Server));
    assert_eq!(mac(Role::Server)[0] & 3, 2);
}

#[test]
fn options_out_of_range_are_named() {
    let folder = TempFolder::new();
    let good = options(folder.path(), Role::Client);
    let refused = |change: &dyn Fn(&mut MemifOptions)| {
        let mut options = good.clone();
        change(&mut options);
        open(&options, 1).map(|_| ()).unwrap_err().to_string()
    };
    assert_eq!(
        refused(&|options| options.ring_size = 1000),
        "memif: ring size is 1000, allowed: powers of two from 32 to 16384"
    );
    assert!(refused(&|options| options.buffer_size = 65536).contains("buffer size is 65536"));
    assert!(refused(&|options| options.secret = Some("x".repeat(25))).contains("at most 24"));
    assert!(refused(&|options| options.queues = Some(0)).contains("number of queues"));
    let huge = |options: &mut MemifOptions| (options.ring_size, options.queues) = (16384, Some(64));
    assert!(refused(&huge).contains("more than 4 GiB"));
}

#[test]
fn a_forked_child_has_neither_the_memory_nor_after_closing_the_descriptors() {
    let _alone = crate::fork::FORKS.write();
    let folder = TempFolder::new();
    let (_server, mut client) = pair(&folder);
    let (region, _fd) = region::Region::create(4096).unwrap();
    let buffer = client.alloc().unwrap();
    let places = [region.base().as_ptr() as usize, buffer.handle().as_ptr() as usize];
    let data = client.alloc().unwrap().buffer_mut().as_ptr() as usize;
    let mut sockets = crate::fork::open_descriptors();
    sockets.retain(|&fd| crate::fork::is_internal(fd));
    assert!(!sockets.is_empty());
    // SAFETY: the child only makes system calls, and ends with _exit.
    match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Parent { child } => {
            let status = nix::sys::wait::waitpid(child, None).unwrap();
            assert_eq!(status, nix::sys::wait::WaitStatus::Exited(child, 0));
        }
        nix::unistd::ForkResult::Child => {
            let shared = [places[0], data].into_iter().any(is_mapped) || !is_mapped(places[1]);
            crate::fork::close_all();
            // SAFETY: F_GETFD only asks.
            let open = sockets.iter().any(|&fd| unsafe { nix::libc::fcntl(fd, nix::libc::F_GETFD) } >= 0);
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { nix::libc::_exit(i32::from(shared) + 2 * i32::from(open)) }
        }
    }
    assert!(is_mapped(places[0]) && is_mapped(data));
}

/// Whether a page is mapped; mincore(2) says ENOMEM when not.
fn is_mapped(address: usize) -> bool {
    let page = (address & !4095) as *mut nix::libc::c_void;
    let mut resident = 0;
    // SAFETY: mincore only looks the page up, and writes one byte for it.
    unsafe { nix::libc::mincore(page, 4096, &mut resident) == 0 }
}
