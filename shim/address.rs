//! Socket addresses as C passes them.

use std::mem::{size_of, MaybeUninit};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::RawFd;

use libc::{sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage, socklen_t};
use nix::errno::Errno;

use crate::boundary::check;
use crate::{memory, options, real};

/// An address as a program passed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// IPv4 or IPv6; an IPv4-mapped one as it stands.
    Ip(SocketAddr),
    /// `AF_UNSPEC`: a disconnect(2 connect).
    Unspecified,
    /// Another family, or too short to tell.
    Other,
}

/// Reads an address that a program passed.
///
/// # Safety
///
/// `address` is an impossible one (see [`memory`]) or readable for `length` bytes.
pub unsafe fn read(address: *const sockaddr, length: socklen_t) -> Given {
    let sizes = size_of::<libc::sa_family_t>()..=size_of::<sockaddr_storage>();
    if !sizes.contains(&(length as usize)) || !memory::is_possible(address.cast(), length as usize) {
        return Given::Other;
    }
    // SAFETY: long enough for the family, by the check above.
    let family = i32::from(unsafe { (&raw const (*address).sa_family).read_unaligned() });
    match family {
        libc::AF_UNSPEC => Given::Unspecified,
        libc::AF_INET if length as usize >= size_of::<sockaddr_in>() => {
            // SAFETY: long enough for an IPv4 address, which is plain data.
            let address = unsafe { address.cast::<sockaddr_in>().read_unaligned() };
            let ip = u32::from_be(address.sin_addr.s_addr).into();
            Given::Ip(SocketAddrV4::new(ip, u16::from_be(address.sin_port)).into())
        }
        libc::AF_INET6 if length as usize >= size_of::<sockaddr_in6>() => {
            // SAFETY: long enough for an IPv6 address, which is plain data.
            let address = unsafe { address.cast::<sockaddr_in6>().read_unaligned() };
            let ip = Ipv6Addr::from(address.sin6_addr.s6_addr);
            Given::Ip(SocketAddrV6::new(ip, u16::from_be(address.sin6_port), 0, 0).into())
        }
        _ => Given::Other,
    }
}

/// Writes an address as getsockname(2) does: as much as there is room for, and
/// the full length. `v6`: for an `AF_INET6` socket, an IPv4 address as an
/// IPv4-mapped one.
///
/// # Errors
///
/// `EFAULT` for impossible addresses, `EINVAL` for a negative length.
///
/// # Safety
///
/// Unless they are impossible ones (see [`memory`]), `room` is valid, and
/// `address` writable for `*room` bytes.
pub unsafe fn write(
    address: *mut sockaddr,
    room: *mut socklen_t,
    value: SocketAddr,
    v6: bool,
) -> Result<(), Errno> {
    // SAFETY: the caller's promise.
    let given = unsafe { memory::read(room) }?;
    if (given as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    let (in4, in6);
    let (source, length) = match value {
        SocketAddr::V4(value) if !v6 => {
            in4 = in_of(value);
            ((&raw const in4).cast::<u8>(), size_of::<sockaddr_in>())
        }
        _ => {
            in6 = in6_of(value);
            ((&raw const in6).cast::<u8>(), size_of::<sockaddr_in6>())
        }
    };
    let count = length.min(given as usize);
    if !memory::is_possible(address.cast(), count) {
        return Err(Errno::EFAULT);
    }
    // SAFETY: no more than either side holds.
    unsafe { source.copy_to_nonoverlapping(address.cast(), count) };
    // SAFETY: the caller's promise.
    unsafe { memory::write(room, length as socklen_t) }
}

fn in_of(address: SocketAddrV4) -> sockaddr_in {
    sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: address.ip().to_bits().to_be() },
        sin_zero: [0; 8],
    }
}

fn in6_of(address: SocketAddr) -> sockaddr_in6 {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    sockaddr_in6 {
        sin6_family: libc::AF_INET6 as libc::sa_family_t,
        sin6_port: address.port().to_be(),
        sin6_flowinfo: 0,
        sin6_addr: libc::in6_addr { s6_addr: ip.octets() },
        sin6_scope_id: 0,
    }
}

/// The local address of a kernel socket; `None` for other families.
pub fn of_kernel_socket(fd: RawFd) -> Option<SocketAddr> {
    let mut storage = MaybeUninit::<sockaddr_storage>::zeroed();
    let mut length = size_of::<sockaddr_storage>() as socklen_t;
    // SAFETY: room for any address, and its length.
    check(unsafe { real::getsockname(fd, storage.as_mut_ptr().cast(), &raw mut length) }).ok()?;
    // SAFETY: the kernel wrote `length` bytes.
    match unsafe { read(storage.as_ptr().cast(), length) } {
        Given::Ip(address) => Some(address),
        Given::Unspecified | Given::Other => None,
    }
}

/// The address that a kernel listener serves: of an IPv4-mapped one, the IPv4
/// address.
pub fn of_listener(fd: RawFd) -> Option<SocketAddr> {
    let local = of_kernel_socket(fd)?;
    Some(SocketAddr::new(local.ip().to_canonical(), local.port()))
}

/// Whether a kernel socket is told to have nothing to do with IPv4 (ipv6(7)).
pub fn is_v6_only(fd: RawFd) -> bool {
    options::kernel_int(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY) == Some(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};
    use std::os::fd::AsRawFd;

    const ADDRESS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 7), 6379);

    fn written(room: socklen_t, mapped: bool) -> (sockaddr_storage, socklen_t) {
        // SAFETY: plain data.
        let mut storage: sockaddr_storage = unsafe { std::mem::zeroed() };
        let mut length = room;
        // SAFETY: room for any address.
        unsafe { write((&raw mut storage).cast(), &raw mut length, ADDRESS.into(), mapped) }.unwrap();
        (storage, length)
    }

    #[test]
    fn an_address_survives_the_way_through_c() {
        for mapped in [false, true] {
            let (storage, length) = written(128, mapped);
            // SAFETY: just written.
            let Given::Ip(address) = (unsafe { read((&raw const storage).cast(), length) }) else { panic!() };
            assert_eq!(
                (address.ip().to_canonical(), address.port()),
                ((*ADDRESS.ip()).into(), ADDRESS.port())
            );
            assert_eq!(address.is_ipv6(), mapped);
        }
    }

    #[test]
    fn an_ipv6_address_survives_it_too() {
        let address: SocketAddr = "[2001:db8::1]:6379".parse().unwrap();
        // SAFETY: plain data.
        let mut storage: sockaddr_storage = unsafe { std::mem::zeroed() };
        let mut length = 128;
        // SAFETY: room for any address.
        unsafe { write((&raw mut storage).cast(), &raw mut length, address, true) }.unwrap();
        assert_eq!(length as usize, size_of::<sockaddr_in6>());
        // SAFETY: just written.
        assert_eq!(unsafe { read((&raw const storage).cast(), length) }, Given::Ip(address));
    }

    #[test]
    fn a_mapped_listener_is_one_of_ipv4() {
        // Rust's std leaves IPV6_V6ONLY at the system's default, which is off.
        let Ok(listener) = TcpListener::bind("[::ffff:127.0.0.1]:0") else { return };
        let port = listener.local_addr().unwrap().port();
        assert_eq!(of_listener(listener.as_raw_fd()), Some(SocketAddr::from(([127, 0, 0, 1], port))));
        let all = TcpListener::bind("[::]:0").unwrap();
        assert_eq!(of_listener(all.as_raw_fd()), Some(all.local_addr().unwrap()));
        assert!(!is_v6_only(all.as_raw_fd()));
    }

    #[test]
    fn a_short_buffer_gets_a_part_and_the_full_length() {
        let (storage, length) = written(4, false);
        assert_eq!(length as usize, size_of::<sockaddr_in>());
        // SAFETY: plain data.
        let address: sockaddr_in = unsafe { std::mem::transmute_copy(&storage) };
        assert_eq!((address.sin_port, address.sin_addr.s_addr), (6379_u16.to_be(), 0));
    }

    #[test]
    fn null_pointers_and_negative_lengths_are_errors() {
        let mut length: socklen_t = 16;
        // SAFETY: null is allowed.
        let null = unsafe { write(std::ptr::null_mut(), &raw mut length, ADDRESS.into(), false) };
        assert_eq!(null, Err(Errno::EFAULT));
        let mut byte = 0_u8;
        length = -1_i32 as socklen_t;
        // SAFETY: nothing is written for a negative length.
        let negative = unsafe { write((&raw mut byte).cast(), &raw mut length, ADDRESS.into(), false) };
        assert_eq!(negative, Err(Errno::EINVAL));
    }

    #[test]
    fn what_is_too_short_or_foreign_is_not_taken_for_an_address() {
        let (storage, _) = written(128, false);
        // SAFETY: shorter than what is there.
        assert_eq!(unsafe { read((&raw const storage).cast(), 8) }, Given::Other);
        // SAFETY: null is allowed.
        assert_eq!(unsafe { read(std::ptr::null(), 16) }, Given::Other);
    }
}
