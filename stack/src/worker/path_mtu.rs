//! Path MTUs that the network has reported, by destination, so that the next
//! connection need not find out again (RFC 1191 6.3, RFC 8201 5.3).

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use tpa_tcp::wire::IpAddress;
use tpa_tcp::{Duration, Instant};

use crate::identity::headers;

/// Least MTU that is believed (Linux `net.ipv4.route.min_pmtu`): a forged
/// report cannot force tiny segments.
const SMALLEST: u16 = 552;

/// Least MTU of an IPv6 link; reports of less are none (RFC 8201 4).
const SMALLEST_V6: u16 = 1280;

/// How long a report holds (Linux `net.ipv4.route.mtu_expires`; RFC 1191 6.3
/// has the same).
const LIFETIME: Duration = Duration::from_secs(600);

/// Destinations that are remembered.
const CAPACITY: usize = 1024;

/// MTUs of links that are or were common (RFC 1191 7.1), for routers that do
/// not tell theirs.
const PLATEAUS: [u16; 7] = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006];

/// A path's MTU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownPath {
    /// Largest payload without options.
    pub size: u16,
    /// When the report is forgotten.
    pub until: Instant,
}

/// The MTU that a report means, when it is smaller than the one in use:
/// `mtu` as told, or the next plateau below the packet that was refused.
pub fn plausible(mtu: u16, refused: u16, current: u16) -> Option<u16> {
    let told = match mtu {
        0 => PLATEAUS.into_iter().find(|&plateau| plateau < refused.min(current)).unwrap_or(SMALLEST),
        told => told.max(SMALLEST),
    };
    (told < current).then_some(told)
}

/// The same for IPv6, whose routers always tell.
pub fn plausible_v6(mtu: u32, current: u16) -> Option<u16> {
    u16::try_from(mtu).ok().filter(|mtu| (SMALLEST_V6..current).contains(mtu))
}

/// What is known of paths.
#[derive(Default)]
pub struct PathCache {
    paths: HashMap<IpAddress, KnownPath, RandomState>,
}

impl PathCache {
    /// Remembers the MTU of the path to a destination.
    pub fn learn(&mut self, to: IpAddress, mtu: u16, now: Instant) -> KnownPath {
        if self.paths.len() >= CAPACITY && !self.paths.contains_key(&to) {
            self.paths.retain(|_, path| path.until > now);
            let first = self.paths.iter().min_by_key(|(_, path)| path.until).map(|(to, _)| *to);
            if let Some(first) = first.filter(|_| self.paths.len() >= CAPACITY) {
                self.paths.remove(&first);
            }
        }
        let path = KnownPath { size: mtu.saturating_sub(headers(to)), until: now + LIFETIME };
        self.paths.insert(to, path);
        path
    }

    /// What is known of the path to a destination.
    pub fn get(&self, to: IpAddress, now: Instant) -> Option<KnownPath> {
        if self.paths.is_empty() {
            return None;
        }
        self.paths.get(&to).copied().filter(|path| path.until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_millis(1000);

    fn address(n: u32) -> IpAddress {
        std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into()
    }

    #[test]
    fn only_smaller_mtus_are_plausible_and_none_is_tiny() {
        assert_eq!(plausible(1400, 1500, 1500), Some(1400));
        assert_eq!(plausible(1500, 1500, 1500), None);
        assert_eq!(plausible(9000, 1500, 1500), None);
        assert_eq!(plausible(68, 1500, 1500), Some(552));
        assert_eq!(plausible(68, 552, 552), None);
    }

    #[test]
    fn a_router_that_does_not_tell_is_guessed_by_plateaus() {
        assert_eq!(plausible(0, 1500, 1500), Some(1492));
        assert_eq!(plausible(0, 1492, 1492), Some(1006));
        assert_eq!(plausible(0, 1006, 1006), Some(552));
        assert_eq!(plausible(0, 9000, 9000), Some(8166));
        assert_eq!(plausible(0, 9000, 1492), Some(1006));
        assert_eq!(plausible(0, 600, 552), None);
    }

    #[test]
    fn an_ipv6_path_takes_1280_bytes_whatever_is_said() {
        assert_eq!(plausible_v6(1400, 1500), Some(1400));
        assert_eq!(plausible_v6(1280, 1500), Some(1280));
        for mtu in [0, 1279, 1500, 70_000] {
            assert_eq!(plausible_v6(mtu, 1500), None, "{mtu}");
        }
        let to = IpAddress::from_v6("2001:db8::1".parse().unwrap());
        assert_eq!(PathCache::default().learn(to, 1400, NOW).size, 1340);
    }

    #[test]
    fn a_path_is_known_for_ten_minutes() {
        let mut cache = PathCache::default();
        cache.learn(address(1), 1400, NOW);
        assert_eq!(cache.get(address(1), NOW + Duration::from_secs(599)).map(|path| path.size), Some(1360));
        assert_eq!(cache.get(address(1), NOW + Duration::from_secs(600)), None);
        assert_eq!(cache.get(address(2), NOW), None);
    }

    #[test]
    fn the_oldest_report_makes_room() {
        let mut cache = PathCache::default();
        for n in 0..=CAPACITY as u32 {
            cache.learn(address(n), 1400, NOW + Duration::from_millis(n.into()));
        }
        assert_eq!(cache.paths.len(), CAPACITY);
        assert!(cache.get(address(0), NOW).is_none() && cache.get(address(1), NOW).is_some());
        let later = NOW + Duration::from_secs(3600);
        cache.learn(address(5000), 1400, later);
        assert_eq!(cache.paths.len(), 1, "what is forgotten takes no room");
    }
}
