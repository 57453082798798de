//! Where the host lets local ports lie (ip-sysctl: `ip_local_port_range`,
//! `ip_local_reserved_ports`).

use std::fs;
use std::ops::{Range, RangeInclusive};

use crate::device::PORT_BLOCK;

/// Linux's own default.
const DEFAULT: RangeInclusive<u16> = 32768..=60999;

/// The host's settings.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LocalPorts {
    range: RangeInclusive<u16>,
    reserved: Vec<RangeInclusive<u16>>,
}

impl LocalPorts {
    /// Reads the settings of this thread's network namespace.
    pub(super) fn read() -> Self {
        let setting =
            |name: &str| fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap_or_default();
        Self::parse(&setting("ip_local_port_range"), &setting("ip_local_reserved_ports"))
    }

    fn parse(range: &str, reserved: &str) -> Self {
        let mut bounds = range.split_whitespace().map_while(|bound| bound.parse().ok());
        let range = match (bounds.next(), bounds.next()) {
            (Some(low), Some(high)) => low..=high,
            _ => DEFAULT,
        };
        Self { range, reserved: reserved.trim().split(',').filter_map(span).collect() }
    }

    /// Numbers of the aligned blocks that lie within the range as a whole.
    pub(super) fn blocks(&self) -> Range<u16> {
        let end = (u32::from(*self.range.end()) + 1) / u32::from(PORT_BLOCK);
        self.range.start().div_ceil(PORT_BLOCK)..end as u16
    }

    /// First port of the `nth` block.
    pub(super) fn block(&self, nth: usize) -> u16 {
        (self.blocks().start + nth as u16) * PORT_BLOCK
    }

    /// Whether the administrator keeps a port of the block for a program.
    pub(super) fn reserved_in(&self, first: u16) -> bool {
        let last = first + (PORT_BLOCK - 1);
        self.reserved.iter().any(|span| *span.start() <= last && *span.end() >= first)
    }
}

/// "8080" or "9000-9010".
fn span(text: &str) -> Option<RangeInclusive<u16>> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    Some(low.trim().parse().ok()?..=high.trim().parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_aligned_blocks_within_the_range_count() {
        let ports = LocalPorts::parse("32768\t60999\n", "\n");
        assert_eq!((ports.block(0), ports.blocks().len()), (32768, 441));
        let ports = LocalPorts::parse("1000 1151", "");
        assert_eq!((ports.block(0), ports.blocks().len()), (1024, 2));
        assert_eq!(LocalPorts::parse("1000 1086", "").blocks().len(), 0);
        let ports = LocalPorts::parse("65400 65535", "");
        assert_eq!((ports.block(1), ports.blocks().len()), (65472, 2));
        assert_eq!(LocalPorts::parse("60000 50000", "").blocks().len(), 0);
    }

    #[test]
    fn settings_that_cannot_be_read_are_the_default() {
        assert_eq!(LocalPorts::parse("", ""), LocalPorts::parse("32768 60999", ""));
        assert_eq!(LocalPorts::parse("x 70000", "?"), LocalPorts::parse("32768 60999", ""));
    }

    #[test]
    fn a_block_with_a_reserved_port_is_known() {
        let ports = LocalPorts::parse("32768 60999", "33000,40000-40100\n");
        assert!(ports.reserved_in(32960));
        assert!(!ports.reserved_in(33024));
        assert!(ports.reserved_in(40000) && ports.reserved_in(40064));
        assert!(!ports.reserved_in(39936) && !ports.reserved_in(40128));
    }
}
