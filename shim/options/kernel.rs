//! What is set on a kernel socket. Options that a program sets before its
//! socket moves to the stack are kept by the kernel, and asked for when it moves:
//! that holds for sockets from anywhere, inherited ones included.

use std::mem::{size_of, MaybeUninit};
use std::os::fd::RawFd;
use std::time::Duration;

use libc::{linger, socklen_t, timeval};
use tpa_stack::SocketOptions;

use super::{congestion, limit};
use crate::table::Slot;
use crate::{real, wait};

/// `SO_BUF_LOCK` (Linux 5.14): which buffer sizes were set by the program.
const SO_BUF_LOCK: i32 = 72;
const SNDBUF_LOCK: i32 = 1;
const RCVBUF_LOCK: i32 = 2;

/// What Linux reports when nothing was set: `TCP_KEEPALIVE_TIME`,
/// `TCP_KEEPALIVE_INTVL` in seconds, `TCP_KEEPALIVE_PROBES`, `TCP_MSS_DEFAULT` in
/// bytes, `TCP_SYN_RETRIES`, `TCP_FIN_TIMEOUT` in seconds.
const FRESH_KEEPIDLE: i32 = 7200;
const FRESH_KEEPINTVL: i32 = 75;
const FRESH_KEEPCNT: i32 = 9;
const FRESH_MAXSEG: i32 = 536;
const FRESH_SYNCNT: i32 = 6;
const FRESH_LINGER2: i32 = 60;

/// A value, unless it is the one of a fresh socket.
fn unless(fresh: i32, value: Option<i32>) -> Option<i32> {
    value.filter(|value| *value != fresh)
}

/// An option of plain data; `None` when the kernel does not have it.
pub fn kernel_value<T: Copy>(fd: RawFd, level: i32, name: i32) -> Option<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut length = size_of::<T>() as socklen_t;
    // SAFETY: room of that length.
    let result = unsafe { real::getsockopt(fd, level, name, value.as_mut_ptr().cast(), &raw mut length) };
    if result != 0 || length as usize != size_of::<T>() {
        return None;
    }
    // SAFETY: filled by the successful call; only used with types of plain integers.
    Some(unsafe { value.assume_init() })
}

/// The first bytes of an option; those that the kernel does not have are zero.
pub fn kernel_bytes<const N: usize>(fd: RawFd, level: i32, name: i32) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let mut length = N as socklen_t;
    // SAFETY: room of that length.
    let result = unsafe { real::getsockopt(fd, level, name, bytes.as_mut_ptr().cast(), &raw mut length) };
    (result == 0).then_some(bytes)
}

/// An int option.
pub fn kernel_int(fd: RawFd, level: i32, name: i32) -> Option<i32> {
    kernel_value(fd, level, name)
}

/// `SO_RCVTIMEO` or `SO_SNDTIMEO`; `None`: no limit.
pub fn kernel_timeout(fd: RawFd, name: i32) -> Option<Duration> {
    let time: timeval = kernel_value(fd, libc::SOL_SOCKET, name)?;
    let seconds = u64::try_from(time.tv_sec).ok()?;
    let micros = u64::try_from(time.tv_usec).ok()?;
    limit(Duration::from_secs(seconds).saturating_add(Duration::from_micros(micros)))
}

/// The backlog of a kernel listener, which `TCP_INFO` tells instead of what was
/// selectively acknowledged (`tcp_get_info`).
pub fn kernel_backlog(fd: RawFd) -> Option<u32> {
    kernel_value(fd, libc::IPPROTO_TCP, libc::TCP_INFO).map(|info: libc::tcp_info| info.tcpi_sacked)
}

/// Whether a descriptor is a TCP socket.
pub fn is_tcp(fd: RawFd) -> bool {
    kernel_int(fd, libc::SOL_SOCKET, libc::SO_TYPE) == Some(libc::SOCK_STREAM)
        && kernel_int(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL) == Some(libc::IPPROTO_TCP)
}

/// Whether a TCP socket is neither connected nor about to be (`TCP_CLOSE`; the
/// state is the first byte of `TCP_INFO`), and has no error to tell of that.
pub fn is_unconnected(fd: RawFd) -> bool {
    const TCP_CLOSE: u8 = 7;
    let mut look = [libc::pollfd { fd, events: 0, revents: 0 }];
    kernel_bytes::<1>(fd, libc::IPPROTO_TCP, libc::TCP_INFO) == Some([TCP_CLOSE])
        && wait::sleep_on(&mut look, Some(Duration::ZERO), std::ptr::null()).is_ok()
        && look[0].revents & libc::POLLERR == 0
}

/// Whether nothing was set since socket(2), as far as its slot tells.
pub fn is_untouched(before: Slot) -> bool {
    before.has(Slot::FRESH) && !before.has(Slot::OPTIONED)
}

/// The options that the stack acts upon, as they stand on a kernel socket.
pub fn of_kernel_socket(fd: RawFd, before: Slot) -> SocketOptions {
    let mut options = SocketOptions::default();
    if is_untouched(before) {
        return options;
    }
    let tcp = |name| kernel_int(fd, libc::IPPROTO_TCP, name);
    let natural = |name, fresh| unless(fresh, tcp(name)).and_then(|value| value.try_into().ok()).unwrap_or(0);
    options.nodelay = tcp(libc::TCP_NODELAY) == Some(1);
    options.cork = tcp(libc::TCP_CORK) == Some(1);
    options.reuse_port = kernel_int(fd, libc::SOL_SOCKET, libc::SO_REUSEPORT) == Some(1);
    options.keepalive = kernel_int(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE) == Some(1);
    options.keep_idle = natural(libc::TCP_KEEPIDLE, FRESH_KEEPIDLE);
    options.keep_intvl = natural(libc::TCP_KEEPINTVL, FRESH_KEEPINTVL);
    options.keep_cnt = natural(libc::TCP_KEEPCNT, FRESH_KEEPCNT);
    options.user_timeout_ms = natural(libc::TCP_USER_TIMEOUT, 0);
    options.linger = kernel_value::<linger>(fd, libc::SOL_SOCKET, libc::SO_LINGER)
        .filter(|linger| linger.l_onoff != 0)
        .map(|linger| linger.l_linger.clamp(0, u16::MAX.into()) as u16);
    options.notsent_lowat = natural(libc::TCP_NOTSENT_LOWAT, 0);
    options.window_clamp = natural(libc::TCP_WINDOW_CLAMP, 0);
    options.maxseg = unless(FRESH_MAXSEG, tcp(libc::TCP_MAXSEG)).map_or(0, |bytes| bytes as u16);
    options.syn_retries = unless(FRESH_SYNCNT, tcp(libc::TCP_SYNCNT)).map_or(0, |count| count as u8);
    options.linger2 = unless(FRESH_LINGER2, tcp(libc::TCP_LINGER2)).unwrap_or(0);
    options.rcvlowat =
        unless(1, kernel_int(fd, libc::SOL_SOCKET, libc::SO_RCVLOWAT)).map(|bytes| bytes as u32);
    let locked = kernel_int(fd, libc::SOL_SOCKET, SO_BUF_LOCK).unwrap_or(0);
    let size = |lock, name| {
        if locked & lock == 0 {
            return None;
        }
        kernel_int(fd, libc::SOL_SOCKET, name).and_then(|bytes| u32::try_from(bytes).ok())
    };
    options.sndbuf = size(SNDBUF_LOCK, libc::SO_SNDBUF);
    options.rcvbuf = size(RCVBUF_LOCK, libc::SO_RCVBUF);
    options.congestion = congestion::chosen_on(fd);
    options.max_pacing_rate =
        kernel_value(fd, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE).filter(|&rate: &u64| rate != u64::MAX);
    // An `AF_INET` socket has no options of IPv6.
    let byte = |level, name, default| {
        kernel_int(fd, level, name).and_then(|value| u8::try_from(value).ok()).unwrap_or(default)
    };
    options.tos = byte(libc::IPPROTO_IP, libc::IP_TOS, options.tos);
    options.ttl = byte(libc::IPPROTO_IP, libc::IP_TTL, options.ttl);
    options.traffic_class = byte(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, options.traffic_class);
    options.hop_limit = byte(libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, options.hop_limit);
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};
    use std::os::fd::AsRawFd;

    fn set<T>(fd: RawFd, level: i32, name: i32, value: T) {
        // SAFETY: a live value and its size.
        let result = unsafe {
            libc::setsockopt(fd, level, name, (&raw const value).cast(), size_of::<T>() as socklen_t)
        };
        assert_eq!(result, 0);
    }

    #[test]
    fn what_was_set_on_a_kernel_socket_comes_along() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let fd = socket.as_raw_fd();
        assert_eq!(of_kernel_socket(fd, Slot::KERNEL), SocketOptions::default());
        set(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1);
        set(fd, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 77);
        set(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1);
        set(fd, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1);
        set(fd, libc::SOL_SOCKET, libc::SO_LINGER, linger { l_onoff: 1, l_linger: 0 });
        set(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, 50_000);
        set(fd, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, 1_000_000);
        set(fd, libc::IPPROTO_IP, libc::IP_TOS, 0x28);
        set(fd, libc::IPPROTO_IP, libc::IP_TTL, 9);
        set(fd, libc::SOL_SOCKET, libc::SO_RCVLOWAT, 100);
        set(fd, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, 16_384);
        set(fd, libc::IPPROTO_TCP, libc::TCP_MAXSEG, 1000);
        set(fd, libc::IPPROTO_TCP, libc::TCP_LINGER2, -1);
        set(fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, timeval { tv_sec: 2, tv_usec: 500_000 });
        let options = of_kernel_socket(fd, Slot::KERNEL);
        let expected = SocketOptions {
            nodelay: true,
            keepalive: true,
            reuse_port: true,
            keep_idle: 77,
            linger: Some(0),
            sndbuf: Some(100_000),
            max_pacing_rate: Some(1_000_000),
            tos: 0x28,
            ttl: 9,
            rcvlowat: Some(100),
            notsent_lowat: 16_384,
            maxseg: 1000,
            linger2: -1,
            ..SocketOptions::default()
        };
        assert_eq!(options, expected);
        assert_eq!(kernel_timeout(fd, libc::SO_RCVTIMEO), Some(Duration::from_millis(2500)));
        assert_eq!(kernel_timeout(fd, libc::SO_SNDTIMEO), None);
        assert_eq!(of_kernel_socket(fd, Slot::kernel_with(Slot::FRESH)), SocketOptions::default());
    }

    #[test]
    fn options_of_ipv6_come_along_from_an_ipv6_socket() {
        let socket = TcpListener::bind("[::]:0").unwrap();
        let fd = socket.as_raw_fd();
        assert_eq!(of_kernel_socket(fd, Slot::KERNEL), SocketOptions::default());
        set(fd, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, 0x28);
        set(fd, libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, 9);
        let options = of_kernel_socket(fd, Slot::KERNEL);
        assert_eq!((options.traffic_class, options.hop_limit), (0x28, 9));
        assert_eq!((options.tos, options.ttl), (0, 64));
    }

    #[test]
    fn only_tcp_is_tcp() {
        assert!(is_tcp(TcpListener::bind("127.0.0.1:0").unwrap().as_raw_fd()));
        assert!(!is_tcp(UdpSocket::bind("127.0.0.1:0").unwrap().as_raw_fd()));
        assert!(!is_tcp(0));
    }
}
