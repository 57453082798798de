//! Fields of the IP header that the stack takes over from the kernel socket
//! behind a number: `IP_TOS` and `IP_TTL` (ip(7)), `IPV6_TCLASS` and
//! `IPV6_UNICAST_HOPS` (ipv6(7)).

use nix::errno::Errno;

use super::change;
use super::kernel::kernel_int;
use crate::stream::Stream;

/// `INET_ECN_MASK`: on stream sockets these bits are TCP's.
const ECN_MASK: u8 = 0b11;

/// Lets segments have what was just set on the kernel socket; nothing for
/// other options.
///
/// # Errors
///
/// `EBADF`.
pub fn adopt(stream: Stream, level: i32, name: i32) -> Result<(), Errno> {
    let is_field = match level {
        libc::IPPROTO_IP => matches!(name, libc::IP_TOS | libc::IP_TTL),
        libc::IPPROTO_IPV6 => matches!(name, libc::IPV6_TCLASS | libc::IPV6_UNICAST_HOPS),
        _ => false,
    };
    if !is_field {
        return Ok(());
    }
    let value = kernel_int(stream.fd, level, name).and_then(|value| u8::try_from(value).ok());
    let Some(value) = value else { return Ok(()) };
    change(stream, value, |options, value| match (level, name) {
        (libc::IPPROTO_IP, libc::IP_TOS) => options.tos = value & !ECN_MASK,
        (libc::IPPROTO_IP, _) => options.ttl = value,
        (_, libc::IPV6_TCLASS) => options.traffic_class = value & !ECN_MASK,
        _ => options.hop_limit = value,
    })
}
