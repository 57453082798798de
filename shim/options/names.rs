//! Names of the options that programs ask for and that do not exist here.

use dashmap::DashSet;
use nix::errno::Errno;
use once_cell::sync::Lazy;

/// The error for an option that does not exist on an accelerated socket; said
/// once an option.
pub fn unknown(level: i32, name: i32) -> Errno {
    static SAID: Lazy<DashSet<(i32, i32)>> = Lazy::new(DashSet::new);
    if SAID.insert((level, name)) {
        log::warn!("{} is not supported on an accelerated socket", name_of(level, name));
    }
    Errno::ENOPROTOOPT
}

macro_rules! names {
    ($($level:ident: $($name:ident),+;)+) => {
        &[$($((libc::$level, libc::$name, stringify!($name))),+),+]
    };
}

const NAMES: &[(i32, i32, &str)] = names! {
    SOL_SOCKET: SO_ATTACH_BPF, SO_ATTACH_FILTER, SO_ATTACH_REUSEPORT_CBPF, SO_BINDTODEVICE, SO_BUSY_POLL,
        SO_COOKIE, SO_DEBUG, SO_DETACH_FILTER, SO_DONTROUTE, SO_INCOMING_CPU, SO_INCOMING_NAPI_ID, SO_MARK,
        SO_MAX_PACING_RATE, SO_MEMINFO, SO_PASSCRED, SO_PEEK_OFF, SO_PEERCRED, SO_PEERSEC,
        SO_SNDLOWAT, SO_TIMESTAMP, SO_TIMESTAMPING, SO_TIMESTAMPNS, SO_TXTIME, SO_ZEROCOPY;
    IPPROTO_TCP: TCP_CC_INFO, TCP_CONGESTION, TCP_DEFER_ACCEPT, TCP_FASTOPEN, TCP_FASTOPEN_CONNECT,
        TCP_MD5SIG, TCP_REPAIR, TCP_SAVE_SYN, TCP_TIMESTAMP, TCP_ULP, TCP_ZEROCOPY_RECEIVE;
    IPPROTO_IP: IP_BIND_ADDRESS_NO_PORT, IP_FREEBIND, IP_MTU, IP_MTU_DISCOVER, IP_OPTIONS, IP_PKTINFO, IP_RECVERR,
        IP_RECVTOS, IP_TOS, IP_TRANSPARENT, IP_TTL;
    IPPROTO_IPV6: IPV6_MTU, IPV6_RECVERR, IPV6_TCLASS, IPV6_UNICAST_HOPS, IPV6_V6ONLY;
};

/// An option's name, or its numbers.
fn name_of(level: i32, name: i32) -> String {
    match NAMES.iter().find(|known| (known.0, known.1) == (level, name)) {
        Some((_, _, text)) => (*text).to_owned(),
        None => format!("socket option {name} of level {level}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_called_by_its_name() {
        assert_eq!(name_of(libc::IPPROTO_TCP, libc::TCP_ULP), "TCP_ULP");
        assert_eq!(name_of(libc::SOL_SOCKET, 9999), "socket option 9999 of level 1");
        assert_eq!(unknown(libc::IPPROTO_TCP, libc::TCP_ULP), Errno::ENOPROTOOPT);
    }
}
