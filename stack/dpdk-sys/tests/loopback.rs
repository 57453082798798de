//! EAL and a virtual device that returns what it is sent, in one process of
//! their own: EAL starts once a process.

use std::net::Ipv4Addr;
use std::ptr::NonNull;

use dpdk_sys::eal::{self, EalConfig, Hugepages, StartError};
use dpdk_sys::{Dpdk, Frame, Layout, Pool, Port, PortConfig, Queue};

const CONFIG: PortConfig = PortConfig {
    mtu: 1500,
    rx_descriptors: 256,
    tx_descriptors: 256,
    capabilities: dpdk_sys::Capabilities { tx_tcp_checksum: false, rx_checksum: false },
    interrupts: false,
};

fn start() -> &'static Dpdk {
    let config = EalConfig { memory_mb: 64, hugepages: Hugepages::Never, ..EalConfig::default() };
    eal::start(&config).expect("EAL starts anywhere without hugepages")
}

fn free(dpdk: &Dpdk, frame: &Frame) {
    // SAFETY: the tests pass frames that they own, once.
    unsafe { dpdk.free(NonNull::new(frame.mbuf).expect("a handle")) }
}

fn written(queue: &mut Queue, text: &[u8]) -> Frame {
    let mut frame = queue.alloc().expect("a buffer");
    assert!(frame.capacity as usize >= text.len());
    // SAFETY: the buffer is ours and holds `capacity` bytes.
    unsafe { std::slice::from_raw_parts_mut(frame.data, text.len()) }.copy_from_slice(text);
    frame.len = text.len() as u32;
    frame
}

#[test]
fn a_ring_device_returns_frames_in_order_and_a_foreign_frame_stops_a_burst() {
    let dpdk = start();
    let port = Port::create(dpdk, "net_ring_loop", "").expect("net_ring");
    assert_eq!(port.info().expect("information").driver, "net_ring");
    assert!(port.add_flow(Ipv4Addr::LOCALHOST, 80, 0xffff, &[0]).is_err(), "net_ring has no flow rules");
    let pool = Pool::create(dpdk, 511, 1514, Layout::Dense).expect("a pool");
    let mut queue = port.start(&CONFIG, vec![pool]).expect("start").remove(0);
    let mut foreign = Pool::create(dpdk, 511, 1514, Layout::Hardware).expect("another pool");
    let frames =
        [written(&mut queue, b"first"), written(&mut queue, b"second"), foreign.alloc().expect("a buffer")];

    // SAFETY: the frames are ours, written up to their lengths.
    assert_eq!(unsafe { queue.tx_burst(&frames) }, 2);
    let mut received = [Frame::default(); 4];
    assert_eq!(queue.rx_burst(&mut received), 2);
    for (frame, text) in received.iter().zip([&b"first"[..], b"second"]) {
        // SAFETY: a received frame is ours and holds `len` bytes.
        assert_eq!(unsafe { std::slice::from_raw_parts(frame.data, frame.len as usize) }, text);
        free(dpdk, frame);
    }
    assert_eq!(queue.pool().available(), 511, "every buffer came back");
    assert_eq!(foreign.available(), 510);
    free(dpdk, &frames[2]);
    assert_eq!(foreign.available(), 511);
}

#[test]
fn an_empty_pool_says_so_and_recovers() {
    let dpdk = start();
    let mut pool = Pool::create(dpdk, 300, 1514, Layout::Hardware).expect("a pool");
    let frames: Vec<Frame> = std::iter::from_fn(|| pool.alloc()).collect();
    assert_eq!(frames.len(), 300);
    assert_eq!(pool.available(), 0);
    frames.iter().for_each(|frame| free(dpdk, frame));
    assert_eq!(pool.available(), 300);
    assert!(pool.alloc().is_some());
}

#[test]
fn what_is_not_there_is_an_error_with_a_reason() {
    let dpdk = start();
    let error = Port::create(dpdk, "net_nonsense0", "").expect_err("no such driver");
    assert!(error.to_string().starts_with("cannot make the device"), "{error}");
    let error = Pool::create(dpdk, 1 << 20, 9000, Layout::Dense).expect_err("64 MiB do not hold 9 GiB");
    assert!(error.to_string().contains("no memory"), "{error}");
    assert!(!matches!(eal::start(&EalConfig::default()), Err(StartError::Init(_))));
}
