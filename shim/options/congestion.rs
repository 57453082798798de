//! What governs the rate of a connection: `TCP_CONGESTION`, `TCP_CC_INFO` and
//! `SO_MAX_PACING_RATE` (tcp(7), socket(7)).

use std::os::fd::RawFd;

use nix::errno::Errno;
use once_cell::sync::Lazy;
use tpa_tcp::{CongestionAlgorithm, DctcpInfo};

use super::kernel::kernel_value;
use super::value::{Input, Output};
use super::{ask, change};
use crate::real;
use crate::stream::Stream;

/// `TCP_CA_NAME_MAX`: room of a name with its NUL.
const NAME_ROOM: usize = 16;

/// `~0`: a pacing rate without limit, in a value of 4 bytes.
const UNLIMITED_WORD: u32 = u32::MAX;

type Name = [u8; NAME_ROOM];

fn padded(algorithm: CongestionAlgorithm) -> Name {
    let mut name = [0; NAME_ROOM];
    for (to, from) in name.iter_mut().zip(algorithm.name().bytes()) {
        *to = from;
    }
    name
}

/// `TCP_CONGESTION`, set.
///
/// # Errors
///
/// `ENOENT` for a name that means nothing here, `EINVAL` for none.
pub fn set_algorithm(stream: Stream, value: Input<'_>) -> Result<(), Errno> {
    let algorithm = CongestionAlgorithm::from_name(value.name::<NAME_ROOM>()?).ok_or(Errno::ENOENT)?;
    change(stream, algorithm, |options, algorithm| options.congestion = Some(algorithm))
}

/// `TCP_CONGESTION`, asked for: the name in its room, cut to the program's.
///
/// # Errors
///
/// `EBADF`.
pub fn algorithm(stream: Stream, out: &mut Output<'_>) -> Result<(), Errno> {
    let algorithm = stream.worker()?.lock().congestion(stream.handle)?;
    out.bytes(&padded(algorithm))
}

/// `TCP_CC_INFO`: Linux's `struct tcp_dctcp_info` for DCTCP, nothing for others.
///
/// # Errors
///
/// `EBADF`.
pub fn info(stream: Stream, out: &mut Output<'_>) -> Result<(), Errno> {
    match stream.worker()?.lock().dctcp_info(stream.handle)? {
        Some(info) => out.bytes(&dctcp_info(&info)),
        None => out.bytes(&[]),
    }
}

/// The bytes of `struct tcp_dctcp_info` (include/uapi/linux/inet_diag.h).
fn dctcp_info(info: &DctcpInfo) -> [u8; 16] {
    let mut bytes = [0; 16];
    // A peer without ECN leaves Linux with Reno, and zeros.
    if info.enabled {
        bytes[..2].copy_from_slice(&1u16.to_ne_bytes());
        bytes[2..4].copy_from_slice(&u16::from(info.ce).to_ne_bytes());
        let words = [info.alpha, info.marked, info.acked];
        for (place, word) in bytes[4..].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
    }
    bytes
}

/// `SO_MAX_PACING_RATE`, set: bytes a second, as 4 or 8 bytes.
///
/// # Errors
///
/// `EINVAL` for a shorter value.
pub fn set_pacing_rate(stream: Stream, value: Input<'_>) -> Result<(), Errno> {
    let rate = match value.long() {
        Some(rate) => Some(rate).filter(|&rate| rate != u64::MAX),
        None => Some(value.int()? as u32).filter(|&rate| rate != UNLIMITED_WORD).map(u64::from),
    };
    change(stream, rate, |options, rate| options.max_pacing_rate = rate)
}

/// `SO_MAX_PACING_RATE`, asked for.
///
/// # Errors
///
/// `EBADF`.
pub fn pacing_rate(stream: Stream, out: &mut Output<'_>) -> Result<(), Errno> {
    let rate = ask(stream, |options| options.max_pacing_rate)?.unwrap_or(u64::MAX);
    if out.room() >= size_of::<u64>() {
        out.bytes(&rate.to_ne_bytes())
    } else {
        out.int(u32::try_from(rate).unwrap_or(UNLIMITED_WORD) as i32)
    }
}

/// What a program has chosen on a kernel socket: another algorithm than new
/// sockets have, if it is one of ours.
pub fn chosen_on(fd: RawFd) -> Option<CongestionAlgorithm> {
    static USUAL: Lazy<Option<Name>> = Lazy::new(usual);
    let name = kernel_name(fd)?;
    if Some(name) == *USUAL {
        return None;
    }
    let end = name.iter().position(|&byte| byte == 0)?;
    CongestionAlgorithm::from_name(std::str::from_utf8(name.get(..end)?).ok()?)
}

/// The algorithm of new sockets (`net.ipv4.tcp_congestion_control`).
fn usual() -> Option<Name> {
    // SAFETY: no pointers.
    let fresh = unsafe { real::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    let name = kernel_name(fresh);
    if fresh >= 0 {
        // SAFETY: our own descriptor.
        unsafe { real::close(fresh) };
    }
    name
}

fn kernel_name(fd: RawFd) -> Option<Name> {
    kernel_value(fd, libc::IPPROTO_TCP, libc::TCP_CONGESTION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_name_fills_its_room_with_zeros() {
        assert_eq!(&padded(CongestionAlgorithm::NewReno)[..], b"reno\0\0\0\0\0\0\0\0\0\0\0\0");
    }

    #[test]
    fn the_state_of_dctcp_is_laid_out_as_linux_does() {
        let info = DctcpInfo { enabled: true, ce: true, alpha: 512, marked: 7, acked: 9 };
        let words = [512u32, 7, 9].map(u32::to_ne_bytes);
        let expected = [&1u16.to_ne_bytes()[..], &1u16.to_ne_bytes(), words.as_flattened()].concat();
        assert_eq!(dctcp_info(&info)[..], expected);
        assert_eq!(dctcp_info(&DctcpInfo { enabled: false, ..info }), [0; 16]);
    }

    #[test]
    fn only_what_a_program_has_changed_counts_as_chosen() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let fd = socket.as_raw_fd();
        assert_eq!(chosen_on(fd), None);
        let usual = usual().expect("a kernel with TCP");
        for name in ["reno", "cubic"] {
            // SAFETY: a live name and its length.
            let result = unsafe {
                libc::setsockopt(
                    fd,
                    libc::IPPROTO_TCP,
                    libc::TCP_CONGESTION,
                    name.as_ptr().cast(),
                    name.len() as u32,
                )
            };
            // The kernel may lack one of the two, or keep it from us.
            let set = result == 0 && !usual.starts_with(name.as_bytes());
            let expected = set.then(|| CongestionAlgorithm::from_name(name)).flatten();
            assert_eq!(chosen_on(fd), expected, "{name}");
        }
    }
}
