//! Socket options: getsockopt(2) and setsockopt(2) on connections of the
//! stack, and the options that a kernel socket brings along when it moves.

mod carried;
mod congestion;
mod info;
mod ip;
mod kernel;
mod names;
mod value;

use std::time::Duration;

use nix::errno::Errno;
use tpa_stack::SocketOptions;

use crate::cold;
use crate::stream::Stream;
use crate::table::{self, Flag};

pub use carried::{inherit as inherit_carried, is_changed as is_carrying};
pub use kernel::{
    is_tcp, is_unconnected, is_untouched, kernel_backlog, kernel_int, kernel_timeout, of_kernel_socket,
};
pub use value::{Input, Output};

/// `TCP_MIN_MSS` and `MAX_TCP_WINDOW`: bounds of `TCP_MAXSEG`, bytes.
const MIN_MAXSEG: i32 = 88;
const MAX_MAXSEG: i32 = 32_767;
/// `MAX_TCP_SYNCNT`: retransmissions.
const MAX_SYN_RETRIES: i32 = 127;
/// `TCP_FIN_TIMEOUT_MAX`: seconds.
const MAX_LINGER2: i32 = 120;
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
        _ if carried::is_carried(stream, level, name) => {
            carried::set(stream, level, name, value).and_then(|()| ip::adopt(stream, level, name))
        }
        libc::SOL_SOCKET => set_socket(stream, name, value),
        libc::IPPROTO_TCP => set_tcp(stream, name, value),
        _ => Err(names::unknown(level, name)),
    }?;
    Ok(0)
}

fn set_socket(stream: Stream, name: i32, value: Input<'_>) -> Result<(), Errno> {
    match name {
        libc::SO_KEEPALIVE => change(stream, value.bool()?, |options, on| options.keepalive = on),
        libc::SO_LINGER => change(stream, value.linger()?, |options, linger| options.linger = linger),
        libc::SO_SNDBUF | libc::SO_SNDBUFFORCE => {
            let bytes = granted(stream, name, libc::SO_SNDBUF, value)?;
            change(stream, bytes, |options, bytes| options.sndbuf = Some(bytes))
        }
        libc::SO_RCVBUF | libc::SO_RCVBUFFORCE => {
            let bytes = granted(stream, name, libc::SO_RCVBUF, value)?;
            change(stream, bytes, |options, bytes| options.rcvbuf = Some(bytes))
        }
        libc::SO_RCVLOWAT => set_low_water(stream, value.int()?),
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
        libc::SO_MAX_PACING_RATE => congestion::set_pacing_rate(stream, value),
        // Facts that only can be asked for (`sk_setsockopt`).
        libc::SO_ERROR
        | libc::SO_TYPE
        | libc::SO_DOMAIN
        | libc::SO_PROTOCOL
        | libc::SO_ACCEPTCONN
        | libc::SO_MEMINFO => value.int().and(Err(Errno::ENOPROTOOPT)),
        _ => value.int().and_then(|_| Err(names::unknown(libc::SOL_SOCKET, name))),
    }
}

fn set_tcp(stream: Stream, name: i32, value: Input<'_>) -> Result<(), Errno> {
    let within = |range: std::ops::RangeInclusive<i32>| {
        value
            .int()
            .and_then(|value| if range.contains(&value) { Ok(value as u32) } else { Err(Errno::EINVAL) })
    };
    match name {
        libc::TCP_CONGESTION => congestion::set_algorithm(stream, value),
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
        libc::TCP_NOTSENT_LOWAT => {
            change(stream, value.int()? as u32, |options, bytes| options.notsent_lowat = bytes)
        }
        // Zero, "none", is for sockets that are not connected (`tcp_set_window_clamp`).
        libc::TCP_WINDOW_CLAMP if value.int()? == 0 => Err(Errno::EINVAL),
        libc::TCP_WINDOW_CLAMP => {
            change(stream, value.int()?.max(1) as u32, |options, bytes| options.window_clamp = bytes)
        }
        libc::TCP_MAXSEG if value.int()? == 0 => change(stream, 0, |options, bytes| options.maxseg = bytes),
        libc::TCP_MAXSEG => change(stream, within(MIN_MAXSEG..=MAX_MAXSEG)?, |options, bytes| {
            options.maxseg = bytes as u16;
        }),
        libc::TCP_SYNCNT => change(stream, within(1..=MAX_SYN_RETRIES)?, |options, count| {
            options.syn_retries = count as u8;
        }),
        libc::TCP_LINGER2 => change(stream, value.int()?.clamp(-1, MAX_LINGER2), |options, seconds| {
            options.linger2 = seconds;
        }),
        libc::TCP_INQ => {
            let on = within(0..=1)? == 1;
            cold::change(stream, |cold| cold.tells_rest = on);
            Ok(())
        }
        _ => value.int().and_then(|_| Err(names::unknown(libc::IPPROTO_TCP, name))),
    }
}

/// `SO_RCVLOWAT`: the stack bounds it, and blocking calls wait for as much.
fn set_low_water(stream: Stream, bytes: i32) -> Result<(), Errno> {
    // `sk_setsockopt`: below zero is as much as there can be.
    let bytes = u32::try_from(bytes).unwrap_or(i32::MAX as u32);
    change(stream, bytes, |options, bytes| options.rcvlowat = Some(bytes))?;
    let bounded = stream.worker()?.lock().info(stream.handle).map_or(bytes, |info| info.rcvlowat);
    cold::change(stream, |cold| cold.low_water = Some(bounded).filter(|bytes| *bytes > 1));
    Ok(())
}

fn change<T>(stream: Stream, value: T, apply: impl FnOnce(&mut SocketOptions, T)) -> Result<(), Errno> {
    stream.worker()?.lock().set_options(stream.handle, |options| apply(options, value))
}

/// What the kernel makes of a buffer size: doubled, within the bounds of this
/// machine (socket(7)).
fn granted(stream: Stream, name: i32, read_back: i32, value: Input<'_>) -> Result<u32, Errno> {
    carried::set(stream, libc::SOL_SOCKET, name, value)?;
    kernel_int(stream.fd, libc::SOL_SOCKET, read_back).map(|bytes| bytes as u32).ok_or(Errno::EINVAL)
}

/// getsockopt(2).
///
/// # Errors
///
/// As getsockopt(2); `ENOPROTOOPT` for options that do not exist here.
pub fn get(stream: Stream, level: i32, name: i32, out: &mut Output<'_>) -> Result<usize, Errno> {
    match level {
        libc::SOL_SOCKET if name == libc::SO_INCOMING_CPU => out.int(processor()),
        libc::SOL_SOCKET if name == libc::SO_MEMINFO => out.bytes(&memory_info(stream)?),
        _ if carried::is_carried(stream, level, name) => carried::get(stream, level, name, out),
        libc::SOL_SOCKET => get_socket(stream, name, out),
        libc::IPPROTO_TCP => get_tcp(stream, name, out),
        libc::IPPROTO_IP if name == libc::IP_MTU => out.int(path_mtu(stream)?),
        libc::IPPROTO_IPV6 if name == libc::IPV6_MTU => out.int(path_mtu(stream)?),
        _ => Err(names::unknown(level, name)),
    }?;
    Ok(0)
}

fn get_socket(stream: Stream, name: i32, out: &mut Output<'_>) -> Result<(), Errno> {
    let flag = |flag| i32::from(table::flag(stream.fd, flag));
    let value = match name {
        libc::SO_ERROR => stream.worker()?.lock().take_error(stream.handle),
        libc::SO_TYPE => libc::SOCK_STREAM,
        libc::SO_DOMAIN if stream.is_ipv6() => libc::AF_INET6,
        libc::SO_DOMAIN => libc::AF_INET,
        libc::SO_PROTOCOL => libc::IPPROTO_TCP,
        libc::SO_ACCEPTCONN => 0,
        libc::SO_REUSEADDR => flag(Flag::REUSE_ADDRESS),
        libc::SO_REUSEPORT => flag(Flag::REUSE_PORT),
        libc::SO_KEEPALIVE => ask(stream, |options| i32::from(options.keepalive))?,
        libc::SO_SNDBUF => {
            ask(stream, |options| options.sndbuf.map_or(DEFAULT_SNDBUF, |bytes| bytes as i32))?
        }
        libc::SO_RCVBUF => {
            ask(stream, |options| options.rcvbuf.map_or(DEFAULT_RCVBUF, |bytes| bytes as i32))?
        }
        libc::SO_MAX_PACING_RATE => return congestion::pacing_rate(stream, out),
        libc::SO_RCVLOWAT => info(stream)?.rcvlowat as i32,
        libc::SO_LINGER => return out.linger(ask(stream, |options| options.linger)?),
        libc::SO_RCVTIMEO => return out.timeout(cold::of(stream).receive_timeout),
        libc::SO_SNDTIMEO => return out.timeout(cold::of(stream).send_timeout),
        _ => return Err(names::unknown(libc::SOL_SOCKET, name)),
    };
    out.int(value)
}

/// `SO_INCOMING_CPU`: whoever asks has just worked on what arrived.
fn processor() -> i32 {
    // SAFETY: no arguments.
    unsafe { libc::sched_getcpu() }
}

/// `SO_MEMINFO`: nine words from `SK_MEMINFO_RMEM_ALLOC` on (linux/sock_diag.h).
fn memory_info(stream: Stream) -> Result<[u8; 36], Errno> {
    let queued = stream.queued()?;
    let (sndbuf, rcvbuf) = ask(stream, |options| {
        (options.sndbuf.unwrap_or(DEFAULT_SNDBUF as u32), options.rcvbuf.unwrap_or(DEFAULT_RCVBUF as u32))
    })?;
    let (receive, send) = (queued.receive as u32, queued.send as u32);
    let words = [receive, rcvbuf, 0, sndbuf, 0, send, 0, 0, 0];
    let mut bytes = [0; 36];
    for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
    Ok(bytes)
}

/// What Linux reports of a fresh connection: `tcp_wmem[1]` and `tcp_rmem[1]`.
const DEFAULT_SNDBUF: i32 = 16_384;
const DEFAULT_RCVBUF: i32 = 131_072;

fn get_tcp(stream: Stream, name: i32, out: &mut Output<'_>) -> Result<(), Errno> {
    let value = match name {
        libc::TCP_INFO => return out.bytes(&tcp_info(stream)?),
        libc::TCP_CONGESTION => return congestion::algorithm(stream, out),
        libc::TCP_CC_INFO => return congestion::info(stream, out),
        libc::TCP_MAXSEG => info(stream)?.snd_mss as i32,
        libc::TCP_WINDOW_CLAMP => info(stream)?.window_clamp as i32,
        libc::TCP_SYNCNT => info(stream)?.syn_retries as i32,
        libc::TCP_LINGER2 if ask(stream, |options| options.linger2)? < 0 => -1,
        libc::TCP_LINGER2 => seconds(info(stream)?.fin_wait2),
        libc::TCP_NOTSENT_LOWAT => ask(stream, |options| options.notsent_lowat as i32)?,
        libc::TCP_INQ => i32::from(cold::of(stream).tells_rest),
        libc::TCP_NODELAY => ask(stream, |options| i32::from(options.nodelay))?,
        libc::TCP_CORK => ask(stream, |options| i32::from(options.cork))?,
        libc::TCP_QUICKACK => ask(stream, |options| i32::from(options.quickack))?,
        libc::TCP_KEEPIDLE => seconds(keepalive(stream)?.idle),
        libc::TCP_KEEPINTVL => seconds(keepalive(stream)?.interval),
        libc::TCP_KEEPCNT => keepalive(stream)?.count as i32,
        libc::TCP_USER_TIMEOUT => ask(stream, |options| options.user_timeout_ms as i32)?,
        _ => return Err(names::unknown(libc::IPPROTO_TCP, name)),
    };
    out.int(value)
}

fn tcp_info(stream: Stream) -> Result<impl std::ops::Deref<Target = [u8]>, Errno> {
    Ok(info::tcp_info(&info(stream)?, headers(stream)?, tpa_stack::now()))
}

/// `IP_MTU` (ip(7)) and `IPV6_MTU` (ipv6(7)) of a connection: the path's.
fn path_mtu(stream: Stream) -> Result<i32, Errno> {
    Ok((info(stream)?.path_mss + headers(stream)?) as i32)
}

/// Bytes of the IP and TCP headers.
fn headers(stream: Stream) -> Result<u32, Errno> {
    Ok(if stream.local_address()?.is_ipv6() { 40 + 20 } else { 20 + 20 })
}

fn seconds(time: tpa_tcp::Duration) -> i32 {
    (time.as_millis() / 1000) as i32
}

fn keepalive(stream: Stream) -> Result<tpa_tcp::Keepalive, Errno> {
    stream.worker()?.lock().keepalive_times(stream.handle)
}

fn info(stream: Stream) -> Result<tpa_tcp::Info, Errno> {
    stream.worker()?.lock().info(stream.handle)
}

fn ask<T>(stream: Stream, question: impl FnOnce(&SocketOptions) -> T) -> Result<T, Errno> {
    stream.worker()?.lock().options(stream.handle).map(question)
}

/// getsockopt(2) of `TCP_INFO` on a listener: the kernel's, and the connections
/// that wait in the stack beside those that wait in the kernel.
///
/// # Errors
///
/// As getsockopt(2).
pub fn listener_info(listener: Stream, out: &mut Output<'_>) -> Result<usize, Errno> {
    let mut structure: [u8; info::LENGTH] =
        kernel::kernel_bytes(listener.fd, libc::IPPROTO_TCP, libc::TCP_INFO).ok_or(Errno::ENOPROTOOPT)?;
    let waiting = listener.worker()?.lock().waiting(listener.handle)?;
    info::add_waiting(&mut structure, waiting as u32);
    out.bytes(&structure)?;
    Ok(0)
}

/// setsockopt(2) on a listener has been done on the kernel's socket; the
/// stack's listener follows, so that what it accepts inherits the option.
pub fn follow(listener: Stream, level: i32, name: i32, value: Input<'_>) {
    if carried::is_carried(listener, level, name) {
        cold::change(listener, |cold| cold.carries = true);
        if let Err(errno) = ip::adopt(listener, level, name) {
            log::warn!("an option of a listener reaches only its kernel connections: {errno}");
        }
        return;
    }
    let known = match level {
        libc::SOL_SOCKET => matches!(
            name,
            libc::SO_KEEPALIVE
                | libc::SO_LINGER
                | libc::SO_SNDBUF
                | libc::SO_RCVBUF
                | libc::SO_RCVLOWAT
                | libc::SO_RCVTIMEO
                | libc::SO_SNDTIMEO
                | libc::SO_REUSEADDR
                | libc::SO_REUSEPORT
                | libc::SO_MAX_PACING_RATE
        ),
        libc::IPPROTO_TCP => matches!(
            name,
            libc::TCP_NODELAY
                | libc::TCP_CONGESTION
                | libc::TCP_CORK
                | libc::TCP_KEEPIDLE
                | libc::TCP_KEEPINTVL
                | libc::TCP_KEEPCNT
                | libc::TCP_USER_TIMEOUT
                | libc::TCP_NOTSENT_LOWAT
                | libc::TCP_WINDOW_CLAMP
                | libc::TCP_MAXSEG
                | libc::TCP_LINGER2
                | libc::TCP_INQ
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
