//! Facts of a connection that are seldom set and never needed on the hot path:
//! a number's `COLD` flag says whether there are any.

use std::time::Duration;

use dashmap::DashMap;
use once_cell::sync::Lazy;
use tpa_stack::Handle;

use crate::options;
use crate::stream::Stream;
use crate::table::{self, Flag};

/// What a program set that only the shim needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cold {
    /// `SO_RCVTIMEO`; `None`: no limit.
    pub receive_timeout: Option<Duration>,
    /// `SO_SNDTIMEO`; `None`: no limit.
    pub send_timeout: Option<Duration>,
    /// A listener with options in its kernel socket that connections inherit.
    pub carries: bool,
    /// `SO_RCVLOWAT` in bytes, where it is more than 1.
    pub low_water: Option<u32>,
    /// `TCP_INQ`: recvmsg(2) tells how much is left.
    pub tells_rest: bool,
}

static FACTS: Lazy<DashMap<u64, Cold>> = Lazy::new(DashMap::new);

/// The facts of a connection.
#[inline]
pub fn of(stream: Stream) -> Cold {
    if table::flag(stream.fd, Flag::COLD) {
        look_up(stream.handle)
    } else {
        Cold::default()
    }
}

fn look_up(handle: Handle) -> Cold {
    FACTS.get(&handle.to_bits()).map_or_else(Cold::default, |facts| *facts)
}

/// Changes the facts of a connection.
pub fn change(stream: Stream, change: impl FnOnce(&mut Cold)) {
    change(&mut FACTS.entry(stream.handle.to_bits()).or_default());
    table::set_flag_shared(stream.fd, Flag::COLD, true);
}

/// The connection is gone.
pub fn forget(handle: Handle) {
    if let Some(facts) = Lazy::get(&FACTS) {
        facts.remove(&handle.to_bits());
    }
}

/// Takes over what is set on the kernel socket that `stream` was, or stands
/// beside: a listener, if it is one.
pub fn adopt(stream: Stream, listens: bool) {
    let facts = Cold {
        receive_timeout: options::kernel_timeout(stream.fd, libc::SO_RCVTIMEO),
        send_timeout: options::kernel_timeout(stream.fd, libc::SO_SNDTIMEO),
        carries: listens && options::is_carrying(stream.fd),
        low_water: options::kernel_int(stream.fd, libc::SOL_SOCKET, libc::SO_RCVLOWAT)
            .and_then(|bytes| u32::try_from(bytes).ok())
            .filter(|bytes| *bytes > 1),
        tells_rest: options::kernel_int(stream.fd, libc::IPPROTO_TCP, libc::TCP_INQ) == Some(1),
    };
    if facts != Cold::default() {
        change(stream, |cold| *cold = facts);
    }
}

/// Gives an accepted connection its listener's facts, as Linux does.
pub fn inherit(listener: Stream, connection: Stream) {
    if table::flag(listener.fd, Flag::COLD) {
        let facts = of(listener);
        change(connection, |cold| *cold = Cold { carries: false, ..facts });
        if facts.carries {
            options::inherit_carried(listener.fd, connection);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_there_from_the_first_change_until_the_connection_goes() {
        let stream = Stream { fd: 930_001, handle: Handle::from_bits(0x77) };
        assert_eq!(of(stream), Cold::default());
        let (receive_timeout, send_timeout) = (Some(Duration::from_micros(5)), Some(Duration::from_secs(7)));
        change(stream, |cold| cold.receive_timeout = receive_timeout);
        change(stream, |cold| cold.send_timeout = send_timeout);
        assert_eq!(of(stream), Cold { receive_timeout, send_timeout, ..Cold::default() });
        forget(stream.handle);
        assert_eq!(of(stream), Cold::default());
        table::clear_flags(stream.fd);
    }
}
