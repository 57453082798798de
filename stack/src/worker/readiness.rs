//! Readiness of sockets in epoll(7)'s bits, as Linux's tcp_poll computes it.

use tpa_tcp::{Events, Readiness};

use crate::worker::socket::{Listener, Socket};

const IN: u32 = (libc::EPOLLIN | libc::EPOLLRDNORM) as u32;
const OUT: u32 = (libc::EPOLLOUT | libc::EPOLLWRNORM) as u32;
const RDHUP: u32 = libc::EPOLLRDHUP as u32;
const HUP: u32 = libc::EPOLLHUP as u32;
const ERR: u32 = libc::EPOLLERR as u32;
const PRI: u32 = libc::EPOLLPRI as u32;

/// A connection attempt or a connection that has failed.
const FAILED: u32 = IN | OUT | RDHUP | HUP | ERR;

/// Bits for what TCP says is so.
pub fn of_connection(readiness: Readiness) -> u32 {
    let bit = |flag, bits| if readiness.contains(flag) { bits } else { 0 };
    bit(Readiness::READABLE, IN)
        | bit(Readiness::WRITABLE, OUT)
        | bit(Readiness::RDHUP, RDHUP)
        | bit(Readiness::HUP, HUP)
        | bit(Readiness::ERR, ERR)
        | bit(Readiness::URGENT, PRI)
}

/// Bits that an event makes worth looking at again.
pub fn of_events(events: Events) -> u32 {
    let bit = |flag, bits| if events.contains(flag) { bits } else { 0 };
    bit(Events::READABLE, IN)
        | bit(Events::WRITABLE, OUT)
        | bit(Events::CONNECTED, OUT)
        | bit(Events::RDHUP, IN | RDHUP)
        | bit(Events::HUP, FAILED & !ERR)
        | bit(Events::ERROR, FAILED)
        | bit(Events::URGENT, PRI)
}

/// Present state of a socket.
pub fn of_socket(socket: &Socket) -> u32 {
    match socket {
        Socket::Listener(listener) => of_listener(listener),
        Socket::Stream(stream) => of_connection(stream.connection.readiness()),
    }
}

fn of_listener(listener: &Listener) -> u32 {
    if listener.queue.is_empty() { 0 } else { IN }
}
