//! The ways in which a server and its client can meet.

/// A column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Both on the kernel's stack, over a veth pair.
    Kernel,
    /// The same veth pair, the server's end on our stack over AF_XDP.
    AfXdpServer,
    /// Both ends on our stack over AF_XDP.
    AfXdp,
    /// Both ends on our stack, over shared memory.
    Memif,
}

impl Column {
    /// In the order of the table.
    pub const ALL: [Self; 4] = [Self::Kernel, Self::AfXdpServer, Self::AfXdp, Self::Memif];

    /// Its key in JSON.
    pub fn key(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::AfXdpServer => "af_xdp_server",
            Self::AfXdp => "af_xdp",
            Self::Memif => "memif",
        }
    }

    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::AfXdpServer => "AF_XDP, server",
            Self::AfXdp => "AF_XDP, both",
            Self::Memif => "memif, both",
        }
    }

    /// Whether the server runs on our stack.
    pub fn has_stack(self) -> bool {
        self != Self::Kernel
    }

    /// Whether the client does.
    pub fn has_client_stack(self) -> bool {
        matches!(self, Self::AfXdp | Self::Memif)
    }
}
