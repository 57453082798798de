//! The counters, declared once: the structs that count and the schema that
//! goes into the file.

use super::schema::{Field, Kind};
use super::value::{Counter, Gauge, SharedCounter};
use crate::config::Reason;

/// What a value's type says of it in the schema.
trait Described {
    const KIND: Kind;
}

impl Described for Counter {
    const KIND: Kind = Kind::Counter;
}

impl Described for SharedCounter {
    const KIND: Kind = Kind::Counter;
}

impl Described for Gauge {
    const KIND: Kind = Kind::Gauge;
}

macro_rules! block {
    (
        $(#[$meta:meta])*
        pub struct $block:ident {
            $( #[doc = $help:literal] $name:ident: $type:ident, $unit:literal; )+
        }
    ) => {
        $(#[$meta])*
        // 128: pairs of cache lines are fetched together, so that a neighbour
        // on the next line would be felt too.
        #[repr(C, align(128))]
        #[derive(Debug, Default)]
        pub struct $block {
            $( #[doc = $help] pub $name: $type, )+
        }

        impl $block {
            /// The values in the order of memory, 8 bytes each.
            pub(super) fn schema() -> Vec<Field> {
                vec![$( Field {
                    name: stringify!($name).to_owned(),
                    kind: <$type as Described>::KIND,
                    unit: $unit.to_owned(),
                    help: $help.trim().to_owned(),
                }, )+]
            }
        }
    };
}

block! {
    /// What one worker counts, under its lock.
    pub struct WorkerCounters {
        /// Frames received from the device.
        rx_frames: Counter, "frames";
        /// Frames given to the device.
        tx_frames: Counter, "frames";
        /// Frames of connections of the process to itself.
        loopback_frames: Counter, "frames";
        /// TCP segments received for this stack.
        rx_segments: Counter, "segments";
        /// TCP segments sent, retransmissions included.
        tx_segments: Counter, "segments";
        /// TCP segments sent again.
        tx_retransmits: Counter, "segments";
        /// Retransmission timeouts.
        rto_fired: Counter, "times";
        /// Tail loss probes: timers that ended a wait for acknowledgements before a timeout did.
        tail_probes: Counter, "times";
        /// Frames dropped because a header was wrong or cut short.
        rx_malformed: Counter, "frames";
        /// Frames dropped because a checksum was wrong.
        rx_bad_checksum: Counter, "frames";
        /// Frames dropped because they were for another address or protocol.
        rx_not_ours: Counter, "frames";
        /// Resets sent.
        resets_sent: Counter, "segments";
        /// Resets received and accepted.
        resets_received: Counter, "segments";
        /// SYNs and last ACKs dropped because an accept queue was full.
        listen_overflows: Counter, "segments";
        /// SYNs dropped because a SYN queue was full and cookies are off.
        syn_queue_drops: Counter, "segments";
        /// SYN cookies sent because a SYN queue was full.
        syn_cookies_sent: Counter, "segments";
        /// Connections established by a SYN cookie.
        syn_cookies_accepted: Counter, "connections";
        /// ACKs refused because they held no valid SYN cookie.
        syn_cookies_failed: Counter, "segments";
        /// Half-open connections that peers never completed.
        half_open_expired: Counter, "connections";
        /// Connections that listeners took in.
        connections_accepted: Counter, "connections";
        /// Connections opened by the program and established.
        connections_opened: Counter, "connections";
        /// Connections opened by the program that failed.
        connections_failed: Counter, "connections";
        /// Connections that ended.
        connections_closed: Counter, "connections";
        /// Connections that stand now.
        connections_now: Gauge, "connections";
        /// Connections that left TIME-WAIT early, because too many were in it.
        time_wait_overflows: Counter, "connections";
        /// Connections in TIME-WAIT that no program holds now.
        time_wait_now: Gauge, "connections";
        /// Half-open connections that stand now.
        half_open_now: Gauge, "connections";
        /// Payload that the program has read.
        bytes_received: Counter, "bytes";
        /// Payload that the program has written.
        bytes_sent: Counter, "bytes";
        /// Payload of the segments received, repeated ones included.
        payload_rx: Counter, "bytes";
        /// Payload of the segments sent, repeated ones included.
        payload_tx: Counter, "bytes";
        /// ARP requests sent.
        arp_requests_sent: Counter, "frames";
        /// ARP replies sent.
        arp_replies_sent: Counter, "frames";
        /// ARP frames received.
        arp_received: Counter, "frames";
        /// Neighbour solicitations sent.
        nd_solicitations_sent: Counter, "frames";
        /// Neighbour advertisements sent: answers to solicitations.
        nd_advertisements_sent: Counter, "frames";
        /// Neighbour solicitations and advertisements received.
        nd_received: Counter, "frames";
        /// ICMP echo replies sent.
        icmp_echo_replies: Counter, "frames";
        /// ICMP errors received.
        icmp_errors: Counter, "messages";
        /// ICMP errors about nothing that was under way, or not plausible.
        icmp_errors_ignored: Counter, "messages";
        /// Times that an ICMP error lowered the MTU of a path.
        path_mtu_lowered: Counter, "times";
        /// Rounds of the worker.
        polls: Counter, "rounds";
        /// Rounds that found no frame.
        idle_polls: Counter, "rounds";
        /// Rounds that the control thread ran while the program was away.
        control_polls: Counter, "rounds";
        /// Times that a thread slept until a signal.
        sleeps: Counter, "times";
        /// Sleeps that ended because of the device or a doorbell.
        wakes: Counter, "times";
        /// Short sleeps on a device that has no signal.
        naps: Counter, "times";
        /// Times that a sleeper was woken by another thread.
        doorbells: Counter, "times";
        /// Times that the device took less than it was given.
        tx_busy: Counter, "times";
        /// Times that no packet buffer was free.
        out_of_packets: Counter, "times";
        /// Malformed or refused frames and descriptors from the device.
        device_rx_errors: Counter, "frames";
        /// Frames that the device could not send and dropped.
        device_tx_dropped: Counter, "frames";
        /// Times that the device's peer or link came.
        device_connects: Counter, "times";
        /// Times that the device's peer or link went.
        device_disconnects: Counter, "times";
        /// Whether faults are injected now (`tpa fault`).
        faults_on: Gauge, "plans";
        /// Frames dropped on purpose.
        faults_dropped: Counter, "frames";
        /// Frames doubled on purpose.
        faults_duplicated: Counter, "frames";
        /// Frames held back on purpose until later ones had gone.
        faults_reordered: Counter, "frames";
        /// Frames delayed on purpose.
        faults_delayed: Counter, "frames";
        /// Frames damaged on purpose.
        faults_corrupted: Counter, "frames";
        /// Frames cut short on purpose.
        faults_truncated: Counter, "frames";
    }
}

block! {
    /// What the process counts, from any thread.
    pub struct ProcessCounters {
        /// Listeners that policy wanted here and that stayed with the kernel.
        fallback_listen: SharedCounter, "sockets";
        /// Connections that policy wanted here and that stayed with the kernel.
        fallback_connect: SharedCounter, "sockets";
        /// Sockets that run on the stack.
        decided_accelerated: SharedCounter, "sockets";
        /// Listeners that a rule names and that were not used yet when they were decided.
        decided_pending: SharedCounter, "sockets";
        /// Sockets left to the kernel: no rule names them.
        decided_no_rule: SharedCounter, "sockets";
        /// Sockets left to the kernel: the rules are for other programs.
        decided_other_program: SharedCounter, "sockets";
        /// Sockets left to the kernel by a rule.
        decided_kernel_rule: SharedCounter, "sockets";
        /// Listeners left to the kernel: their program forks for each connection.
        decided_forks: SharedCounter, "sockets";
        /// Sockets left to the kernel: loopback.
        decided_loopback: SharedCounter, "sockets";
        /// Sockets left to the kernel: IPv6 link-local addresses.
        decided_link_local: SharedCounter, "sockets";
        /// Connections left to the kernel: to this host, but not to this process.
        decided_not_to_itself: SharedCounter, "sockets";
        /// Sockets that the stack, which could not start, did not take.
        decided_no_stack: SharedCounter, "sockets";
        /// Sockets left to the kernel while every receive queue was taken.
        decided_no_queue: SharedCounter, "sockets";
        /// Connections left to the kernel: another process might get the replies.
        decided_shared_queues: SharedCounter, "sockets";
        /// Sockets of a forked child, whose parent has the stack.
        decided_forked: SharedCounter, "sockets";
        /// Listeners on addresses that the device does not have.
        decided_not_own_address: SharedCounter, "sockets";
        /// Connections to where the device does not lead.
        decided_no_path: SharedCounter, "sockets";
        /// Sockets that the stack refused, as when a port is in use.
        decided_refused: SharedCounter, "sockets";
    }
}

impl ProcessCounters {
    /// The counter of sockets for which a reason held.
    pub fn decided(&self, reason: Reason) -> &SharedCounter {
        match reason {
            Reason::Accelerated => &self.decided_accelerated,
            Reason::Pending => &self.decided_pending,
            Reason::NoRule => &self.decided_no_rule,
            Reason::Program => &self.decided_other_program,
            Reason::KernelRule => &self.decided_kernel_rule,
            Reason::Forks => &self.decided_forks,
            Reason::Loopback => &self.decided_loopback,
            Reason::LinkLocal => &self.decided_link_local,
            Reason::NotToItself => &self.decided_not_to_itself,
            Reason::NoStack => &self.decided_no_stack,
            Reason::NoQueue => &self.decided_no_queue,
            Reason::SharedQueues => &self.decided_shared_queues,
            Reason::Forked => &self.decided_forked,
            Reason::NotOwnAddress => &self.decided_not_own_address,
            Reason::NoPath => &self.decided_no_path,
            Reason::Refused => &self.decided_refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_names_each_value_at_its_place() {
        let schema = WorkerCounters::schema();
        let place = |name| schema.iter().position(|field| field.name == name).unwrap() * 8;
        assert_eq!(place("rx_frames"), std::mem::offset_of!(WorkerCounters, rx_frames));
        assert_eq!(place("connections_now"), std::mem::offset_of!(WorkerCounters, connections_now));
        assert_eq!(place("device_disconnects"), std::mem::offset_of!(WorkerCounters, device_disconnects));
        assert!(schema.iter().all(|field| !field.help.is_empty() && !field.unit.is_empty()));
    }

    #[test]
    fn each_reason_has_the_counter_of_its_name() {
        let schema = ProcessCounters::schema();
        for reason in Reason::ALL {
            let counters = ProcessCounters::default();
            let at =
                std::ptr::from_ref(counters.decided(reason)).addr() - std::ptr::from_ref(&counters).addr();
            assert_eq!(schema[at / 8].name, format!("decided_{}", reason.code()));
        }
    }

    #[test]
    fn blocks_never_share_a_cache_line() {
        assert_eq!(size_of::<WorkerCounters>() % 128, 0);
        assert_eq!(size_of::<ProcessCounters>() % 128, 0);
    }
}
