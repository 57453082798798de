//! Proof that the bytes took the way that the column says.

use tpa_harness::{KernelTcp, StackTcp};

use crate::ground::Ground;

/// What the counters showed at one moment.
pub struct Look {
    stack_bytes: u64,
    server_segments: u64,
    client_segments: u64,
}

impl Look {
    /// Looks at the stack of the process that serves, and at the kernels.
    pub fn at(ground: &Ground, pid: u32) -> Self {
        let stack_bytes = if ground.column.has_stack() {
            let stack = StackTcp::of(pid).expect("the server's stack");
            stack.get("bytes_received") + stack.get("bytes_sent")
        } else {
            0
        };
        Self {
            stack_bytes,
            server_segments: KernelTcp::of(&ground.server).segments,
            client_segments: KernelTcp::of(&ground.client).segments,
        }
    }

    /// Fails unless at least this many bytes of payload went through the
    /// server's stack since, and none through the kernel of a side that runs on
    /// ours.
    pub fn must_show(&self, payload: u64, ground: &Ground, pid: u32) {
        let now = Self::at(ground, pid);
        let column = ground.column;
        if column.has_stack() {
            let bytes = now.stack_bytes - self.stack_bytes;
            assert!(bytes >= payload, "the stack moved {bytes} bytes of {payload}");
            assert_eq!(now.server_segments, self.server_segments, "the server's kernel handled segments");
        }
        if column.has_client_stack() {
            assert_eq!(now.client_segments, self.client_segments, "the client's kernel handled segments");
        }
    }
}
