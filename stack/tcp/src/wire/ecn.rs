//! The ECN field of the IP header (RFC 3168 5).

/// The two lower bits of the byte that was once "type of service".
const MASK: u8 = 0b11;

/// The codepoints of RFC 3168 5; the numbers are those on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Ecn {
    /// The transport does not understand marks: congestion drops the packet.
    #[default]
    NotEct = 0b00,
    /// ECN-capable transport; the L4S experiment's identifier (RFC 9331).
    Ect1 = 0b01,
    /// ECN-capable transport.
    Ect0 = 0b10,
    /// Congestion experienced: a router has marked the packet.
    Ce = 0b11,
}

impl Ecn {
    /// The codepoint in a byte of differentiated services and ECN.
    #[inline]
    pub const fn of_tos(tos: u8) -> Self {
        match tos & MASK {
            0b00 => Self::NotEct,
            0b01 => Self::Ect1,
            0b10 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    /// The byte with this codepoint in place of its own.
    #[inline]
    pub const fn in_tos(self, tos: u8) -> u8 {
        tos & !MASK | self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codepoint_leaves_the_differentiated_services_alone() {
        for ecn in [Ecn::NotEct, Ecn::Ect1, Ecn::Ect0, Ecn::Ce] {
            for tos in 0..=255 {
                let combined = ecn.in_tos(tos);
                assert_eq!(Ecn::of_tos(combined), ecn);
                assert_eq!(combined >> 2, tos >> 2);
            }
        }
    }
}
