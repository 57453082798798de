//! Socket options: getsockopt(2) and setsockopt(2) on connections of the
//! stack, and the options that a kernel socket brings along when it moves.

mod info;
mod kernel;
mod names;
mod value;

use std::time::Duration;

use nix::errno::Errno;
use tpa_stack::SocketOptions;

use crate::cold;
use crate::stream::Stream;
use crate::table::{self, Flag};

pub use kernel::{is_tcp, is_untouched, kernel_int, kernel_timeout, of_kernel_socket};
pub use value::{Input, Output};

/// Smallest buffers that Linux grants (`SOCK_MIN_SNDBUF`, `SOCK_MIN_RCVBUF`).
const MIN_SNDBUF: u32 = 4608;
const MIN_RCVBUF: u32 = 2304;
/// Largest value that is not doubled beyond an int (`INT_MAX / 2`).
const MAX_BUFFER: u32 = i32::MAX as u32 / 2;
/// `MAX_TCP_KEEPIDLE`, `MAX_TCP_KEEPINTVL`: seconds.
const MAX_KEEP_TIME: i32 = 32_767;
/// `MAX_TCP_KEEPCNT`: probes.
const MAX_KEEP_COUNT: i32 = 127;

/// setsockopt(2).
///
/// # Errors
///
/// As setsockopt(2); `ENOPROTOOPT` for options that do not exist here.
pub fn set(stream: Stream, level: i32, name: i32, value: Input<'_>) -> Result<usize, Errno> {
    match level {
        libc::SOL_SOCKET => set_socket(stream, name, value),
        libc::IPPROTO_TCP => set_tcp(stream, name, value),
        libc::IPPROTO_IP if matches!(name, libc::IP_TOS | libc::IP_TTL | libc::IP_MTU_DISCOVER) => {
            value.int().map(drop)
        }
        _ => Err(names::unknown(level, name)),
    }?;
    Ok(0)
}

fn set_socket(stream: Stream, name: i32, value: Input<'_>) -> Result<(), Errno> {
    match name {
        libc::SO_KEEPALIVE => change(stream, value.bool()?, |options, on| options.keepalive = on),
        libc::SO_LINGER => change(stream, value.linger()?, |options, linger| options.linger = linger),
        libc::SO_SNDBUF | libc::SO_SNDBUFFORCE => {
            let bytes = doubled(value.int()?, MIN_SNDBUF);
            change(stream, bytes, |options, bytes| options.sndbuf = Some(bytes))
        }
        libc::SO_RCVBUF | libc::SO_RCVBUFFORCE => {
            let bytes = doubled(value.int()?, MIN_RCVBUF);
            change(stream, bytes, |options, bytes| options.rcvbuf = Some(bytes))
        }
        libc::SO_RCVTIMEO => {
            let limit = value.timeout()?;
            cold::change(stream, |cold| cold.receive_timeout = limit);
            Ok(())
        }
        libc::SO_SNDTIMEO => {
            let limit = value.timeout()?;
            cold::change(stream, |cold| cold.send_timeout = limit);
            Ok(())
        }
        libc::SO_REUSEADDR => {
            table::set_flag_shared(stream.fd, Flag::REUSE_ADDRESS, value.bool()?);
            Ok(())
        }
        libc::SO_REUSEPORT => {
            table::set_flag_shared(stream.fd, Flag::REUSE_PORT, value.bool()?);
            Ok(())
        }
        // Nothing here depends on them.
        libc::SO_PRIORITY | libc::SO_OOBINLINE | libc::SO_BROADCAST | libc::SO_DONTROUTE => {
            value.int().map(drop)
        }
        _ => Err(names::unknown(libc::SOL_SOCKET, name)),
    }
}

fn set_tcp(stream: Stream, name: i32, value: Input<'_>) -> Result<(), Errno> {
    let within = |range: std::ops::RangeInclusive<i32>| {
        value
            .int()
            .and_then(|value| if range.contains(&value) { Ok(value as u32) } else { Err(Errno::EINVAL) })
    };
    match name {
        libc::TCP_NODELAY => change(stream, value.bool()?, |options, on| options.nodelay = on),
        libc::TCP_CORK => change(stream, value.bool()?, |options, on| options.cork = on),
        libc::TCP_QUICKACK => change(stream, value.bool()?, |options, on| options.quickack = on),
        libc::TCP_KEEPIDLE => change(stream, within(1..=MAX_KEEP_TIME)?, |options, s| options.keep_idle = s),
        libc::TCP_KEEPINTVL => {
            change(stream, within(1..=MAX_KEEP_TIME)?, |options, s| options.keep_intvl = s)
        }
        libc::TCP_KEEPCNT => change(stream, within(1..=MAX_KEEP_COUNT)?, |options, n| options.keep_cnt = n),
        libc::TCP_USER_TIMEOUT => {
            change(stream, within(0..=i32::MAX)?, |options, ms| options.user_timeout_ms = ms)
        }
        _ => Err(names::unknown(libc::IPPROTO_TCP, name)),
    }
}

fn change<T>(stream: Stream, value: T, apply: impl FnOnce(&mut SocketOptions, T)) -> Result<(), Errno> {
    stream.worker()?.lock().set_options(stream.handle, |options| apply(options, value))
}

/// socket(7): the kernel doubles what is asked for, within its bounds.
fn doubled(bytes: i32, least: u32) -> u32 {
    ((bytes as u32).min(MAX_BUFFER) * 2).max(least)
}

/// getsockopt(2).
///
/// # Errors
///
/// As getsockopt(2); `ENOPROTOOPT` for options that do not exist here.
pub fn get(stream: Stream, level: i32, name: i32, out: &mut Output<'_>) -> Result<usize, Errno> {
    match level {
        libc::SOL_SOCKET => get_socket(stream, name, out),
        libc::IPPROTO_TCP => get_tcp(stream, name, out),
        _ => Err(names::unknown(level, name)),
    }?;
    Ok(0)
}

fn get_socket(stream: Stream, name: i32, out: &mut Output<'_>) -> Result<(), Errno> {
    let flag = |flag| i32::from(table::flag(stream.fd, flag));
    let value = match name {
        libc::SO_ERROR => stream.worker()?.lock().take_error(stream.handle),
        libc::SO_TYPE => libc::SOCK_STREAM,
        libc::SO_DOMAIN if stream.is_mapped() => libc::AF_INET6,
        libc::SO_DOMAIN => libc::AF_INET,
        libc::SO_PROTOCOL => libc::IPPROTO_TCP,
        libc::SO_ACCEPTCONN | libc::SO_PRIORITY | libc::SO_OOBINLINE | libc::SO_BROADCAST => 0,
        libc::SO_REUSEADDR => flag(Flag::REUSE_ADDRESS),
        libc::SO_REUSEPORT => flag(Flag::REUSE_PORT),
        libc::SO_KEEPALIVE => ask(stream, |options| i32::from(options.keepalive))?,
        libc::SO_SNDBUF => {
            ask(stream, |options| options.sndbuf.map_or(DEFAULT_SNDBUF, |bytes| bytes as i32))?
        }
        libc::SO_RCVBUF => {
            ask(stream, |options| options.rcvbuf.map_or(DEFAULT_RCVBUF, |bytes| bytes as i32))?
        }
        libc::SO_LINGER => return out.linger(ask(stream, |options| options.linger)?),
        libc::SO_RCVTIMEO => return out.timeout(cold::of(stream).receive_timeout),
        libc::SO_SNDTIMEO => return out.timeout(cold::of(stream).send_timeout),
        _ => return Err(names::unknown(libc::SOL_SOCKET, name)),
    };
    out.int(value)
}

/// What Linux reports of a fresh connection: `tcp_wmem[1]` and `tcp_rmem[1]`.
const DEFAULT_SNDBUF: i32 = 16_384;
const DEFAULT_RCVBUF: i32 = 131_072;

fn get_tcp(stream: Stream, name: i32, out: &mut Output<'_>) -> Result<(), Errno> {
    let value = match name {
        libc::TCP_INFO => {
            let info = stream.worker()?.lock().info(stream.handle)?;
            return out.bytes(&info::tcp_info(&info));
        }
        libc::TCP_MAXSEG => stream.worker()?.lock().info(stream.handle)?.snd_mss as i32,
        libc::TCP_NODELAY => ask(stream, |options| i32::from(options.nodelay))?,
        libc::TCP_CORK => ask(stream, |options| i32::from(options.cork))?,
        libc::TCP_QUICKACK => ask(stream, |options| i32::from(options.quickack))?,
        libc::TCP_KEEPIDLE => ask(stream, |options| options.keep_idle as i32)?,
        libc::TCP_KEEPINTVL => ask(stream, |options| options.keep_intvl as i32)?,
        libc::TCP_KEEPCNT => ask(stream, |options| options.keep_cnt as i32)?,
        libc::TCP_USER_TIMEOUT => ask(stream, |options| options.user_timeout_ms as i32)?,
        _ => return Err(names::unknown(libc::IPPROTO_TCP, name)),
    };
    out.int(value)
}

fn ask<T>(stream: Stream, question: impl FnOnce(&SocketOptions) -> T) -> Result<T, Errno> {
    stream.worker()?.lock().options(stream.handle).map(question)
}

/// setsockopt(2) on a listener has been done on the kernel's socket; the
/// stack's listener follows, so that what it accepts inherits the option.
pub fn follow(listener: Stream, level: i32, name: i32, value: Input<'_>) {
    let known = match level {
        libc::SOL_SOCKET => matches!(
            name,
            libc::SO_KEEPALIVE
                | libc::SO_LINGER
                | libc::SO_SNDBUF
                | libc::SO_RCVBUF
                | libc::SO_RCVTIMEO
                | libc::SO_SNDTIMEO
                | libc::SO_REUSEADDR
                | libc::SO_REUSEPORT
        ),
        libc::IPPROTO_TCP => matches!(
            name,
            libc::TCP_NODELAY
                | libc::TCP_CORK
                | libc::TCP_KEEPIDLE
                | libc::TCP_KEEPINTVL
                | libc::TCP_KEEPCNT
                | libc::TCP_USER_TIMEOUT
        ),
        _ => false,
    };
    if !known {
        return;
    }
    if let Err(errno) = set(listener, level, name, value) {
        log::warn!("an option of a listener reaches only its kernel connections: {errno}");
    }
}

/// A limit in time as `SO_RCVTIMEO` knows it: zero is none.
fn limit(time: Duration) -> Option<Duration> {
    Some(time).filter(|time| !time.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffer_sizes_are_doubled_within_linuxs_bounds() {
        assert_eq!(doubled(65_536, MIN_SNDBUF), 131_072);
        assert_eq!(doubled(0, MIN_SNDBUF), MIN_SNDBUF);
        assert_eq!(doubled(1, MIN_RCVBUF), MIN_RCVBUF);
        assert_eq!(doubled(i32::MAX, MIN_RCVBUF), i32::MAX as u32 - 1);
    }
}
