//! The process's one stack: its device, its workers, its control thread.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use once_cell::sync::OnceCell;
use thiserror::Error;
use tpa_tcp::wire::{EthernetAddress, IpAddress};

use crate::config::{Config, InterfaceAddress, Reason};
use crate::counters::CounterFile;
use crate::device;
use crate::faults::FaultSwitch;
use crate::handle::Handle;
use crate::identity::{Identity, Network, OwnAddress};
use crate::ports::PortBlocks;
use crate::worker::{Parts, Settings, Worker};
use crate::{control, decisions, fork, host, privilege};

/// How long an orderly end waits for peers to take what was written.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why the stack could not start: one line for people.
#[derive(Debug, Clone, Error)]
pub enum StartError {
    /// Other processes have all receive queues of the interface: it can be tried
    /// again when one of them has ended.
    #[error("{0}")]
    NoFreeQueue(String),
    /// Anything else, which does not pass by itself.
    #[error("{0}")]
    Failed(String),
}

impl StartError {
    pub(crate) fn new(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

/// What the stack is started for; tells `device = "auto"` which interface.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    /// A listener on this address.
    Listen(SocketAddr),
    /// A connection to this address.
    Connect(SocketAddr),
}

/// The stack of this process.
pub struct Stack {
    identity: Arc<Identity>,
    workers: Vec<Worker>,
    counters: CounterFile,
    device: String,
    faults: Mutex<FaultSwitch>,
    over: AtomicBool,
}

static STARTED: OnceCell<&'static Stack> = OnceCell::new();
/// The running stack, for one load on hot paths; null before the start, in a
/// forked child and after the end.
static RUNNING: AtomicPtr<Stack> = AtomicPtr::new(std::ptr::null_mut());

impl Stack {
    /// Opens the device, makes the workers, starts the control thread. Slow;
    /// once it has succeeded, later calls get the stack that runs.
    ///
    /// # Errors
    ///
    /// One line that says what failed and where.
    pub fn start(config: &Config, program: &str, purpose: Purpose) -> Result<&'static Stack, StartError> {
        STARTED
            .get_or_try_init(|| {
                let stack: &'static Stack = Box::leak(Box::new(Self::build(config, program, purpose)?));
                control::spawn(stack)
                    .map_err(|e| StartError::Failed(format!("cannot start the control thread: {e}")))?;
                RUNNING.store(std::ptr::from_ref(stack).cast_mut(), Ordering::Release);
                log::info!("running on {}", stack.device);
                Ok(stack)
            })
            .copied()
    }

    fn build(config: &Config, program: &str, purpose: Purpose) -> Result<Self, StartError> {
        if config.workers > 1 {
            log::warn!("workers = {}: one worker serves all threads for now", config.workers);
        }
        let before = fork::open_descriptors();
        let opened = device::open::open(config, purpose)?;
        let is_new = |fd: &RawFd| !before.contains(fd) && fork::may_be_a_devices(*fd);
        fork::open_descriptors().into_iter().filter(is_new).for_each(fork::note);
        let info = opened.workers.first().map(|device| device.info().clone());
        let Some(info) = info else { return Err(StartError::new("the device has no queue")) };
        let own: Vec<OwnAddress> = config.own_addresses().into_iter().map(own_address).collect();
        let network = match opened.ifindex {
            _ if !own.is_empty() => Network::Own(own),
            Some(ifindex) => Network::Kernel { ifindex, addresses: Default::default() },
            None => {
                return Err(StartError::Failed(format!(
                    "device {} needs an `address` in the configuration",
                    info.name
                )));
            }
        };
        let identity = Arc::new(Identity {
            mac: EthernetAddress(info.mac),
            mtu: info.mtu,
            network,
            steering: opened.steering,
            loopback: config.loopback,
        });
        if let Some(Err(refusal)) = privilege::helper().map(|helper| helper.make_folder()) {
            log::debug!("no folder for the counters: {refusal}");
        }
        let counters = CounterFile::create(program, &info.name, opened.workers.len());
        let tcp = Arc::new(tcp_config(config));
        let mut workers = Vec::new();
        for (id, device) in (0u8..).zip(opened.workers) {
            let parts = Parts {
                id,
                identity: identity.clone(),
                tcp: tcp.clone(),
                settings: Settings {
                    syn_cookies: config.tcp.syn_cookies,
                    time_wait_max: config.tcp.time_wait_max as usize,
                    keepalive: keepalive_times(&config.tcp),
                },
                device,
                counters: counters.worker(id.into()),
                ports: PortBlocks::new(identity.steering.is_some() || identity.loopback),
            };
            let worker = Worker::new(parts).map_err(StartError::new)?;
            worker.wait_fds().iter().for_each(|&fd| fork::note(fd));
            workers.push(worker);
        }
        let faults = FaultSwitch::new(&config.fault.spec, &workers).map_err(StartError::new)?;
        let stack = Self {
            identity,
            workers,
            counters,
            device: info.name,
            faults: Mutex::new(faults),
            over: AtomicBool::new(false),
        };
        for (reason, sockets) in decisions::publish(program) {
            stack.count_decision(reason, sockets);
        }
        stack.refresh_addresses();
        Ok(stack)
    }

    /// The running stack, if any. One load.
    #[inline]
    pub fn get() -> Option<&'static Stack> {
        // SAFETY: only ever null or a leaked, immutable Stack.
        unsafe { RUNNING.load(Ordering::Acquire).as_ref() }
    }

    /// All workers, by number.
    #[inline]
    pub fn workers(&self) -> &[Worker] {
        &self.workers
    }

    /// The worker that owns a socket.
    #[inline]
    pub fn worker(&self, handle: Handle) -> &Worker {
        &self.workers[handle.worker().min(self.workers.len() - 1)]
    }

    /// The worker of the calling thread.
    pub fn home(&self) -> &Worker {
        &self.workers[0]
    }

    /// Whether a listener on this address can be served; the unspecified
    /// address stands for all of the device's.
    pub fn serves(&self, local: IpAddr) -> bool {
        self.identity.serves(local.into())
    }

    /// Whether the device has this address.
    pub fn owns(&self, address: IpAddr) -> bool {
        self.identity.owns(address.into())
    }

    /// Whether connections to this address stay inside the stack.
    pub fn loops(&self, remote: IpAddr) -> bool {
        self.identity.loops(remote.into())
    }

    /// Whether this peer is reached over the device, or is ourselves.
    pub fn reaches(&self, remote: IpAddr) -> bool {
        self.identity.path_to(remote.into()).is_ok()
    }

    /// Whether replies to connections of ours come to this process, whatever
    /// receive queue they hash to.
    pub fn has_all_queues(&self) -> bool {
        self.identity.steering.as_ref().is_none_or(|steering| steering.has_all_queues())
    }

    /// Name of the device, for logs.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Counts sockets for which a reason held.
    pub(crate) fn count_decision(&self, reason: Reason, sockets: u64) {
        self.counters.process().decided(reason).add(sockets);
    }

    /// Counts a socket that policy wanted here and that stayed with the kernel.
    pub fn count_fallback(&self, purpose: Purpose) {
        let counters = self.counters.process();
        match purpose {
            Purpose::Listen(_) => counters.fallback_listen.add(1),
            Purpose::Connect(_) => counters.fallback_connect.add(1),
        }
    }

    /// Whether a descriptor is the stack's own: the program must not close it.
    pub fn is_internal_fd(&self, fd: RawFd) -> bool {
        fork::is_internal(fd)
    }

    /// In a forked child: the stack is the parent's. Closes the child's copies
    /// of its descriptors and forgets it. Async-signal-safe.
    pub fn after_fork_child(&self) {
        RUNNING.store(std::ptr::null_mut(), Ordering::Release);
        self.over.store(true, Ordering::Relaxed);
        fork::close_all();
    }

    /// Orderly end of the process: what was written goes out as far as the
    /// peers take it now, open connections are ended, run files removed.
    pub fn shutdown(&self) {
        if self.over.swap(true, Ordering::Relaxed) {
            return;
        }
        RUNNING.store(std::ptr::null_mut(), Ordering::Release);
        let end = Instant::now() + FAREWELL;
        for worker in &self.workers {
            // Not `lock`: this may be _exit(2) in a signal handler of the holder.
            let guard = std::iter::repeat_with(|| worker.try_lock())
                .take_while(|_| Instant::now() < end)
                .find_map(|guard| guard);
            let Some(mut guard) = guard else { continue };
            guard.close_all();
            while Instant::now() < end && (guard.poll() > 0 || guard.has_unsent()) {}
        }
        self.counters.remove();
    }

    /// Where faults are switched on and off.
    pub(crate) fn faults(&self) -> MutexGuard<'_, FaultSwitch> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The instance's directory, where it has one.
    pub(crate) fn run_directory(&self) -> Option<&Path> {
        self.counters.directory()
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether a kernel interface is the one behind our device.
    pub(crate) fn is_on(&self, other: u32) -> bool {
        matches!(self.identity.network, Network::Kernel { ifindex, .. } if ifindex == other)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Reads the interface's addresses again.
    pub(crate) fn refresh_addresses(&self) {
        let Network::Kernel { ifindex, addresses } = &self.identity.network else { return };
        match own_addresses(*ifindex) {
            Ok(mut own) => {
                let takes_ipv6 = self.identity.steering.as_ref().is_none_or(|steering| steering.takes_ipv6());
                own.retain(|address| takes_ipv6 || address.is_v4());
                if let Ok(mut addresses) = addresses.write() {
                    *addresses = own;
                    if let Some(steering) = &self.identity.steering
                        && let Err(error) = steering.set_local_addresses(&addresses)
                    {
                        log::warn!("cannot steer the addresses of {}: {error}", self.device);
                    }
                }
            }
            Err(error) => log::warn!("cannot read the addresses of {}: {error}", self.device),
        }
    }
}

/// The addresses of an interface; for loopback, those of the whole host, which
/// are all reached over it.
fn own_addresses(ifindex: u32) -> Result<Vec<IpAddress>, host::HostError> {
    let interfaces = host::interfaces()?;
    let own = interfaces.iter().find(|interface| interface.index == ifindex);
    let own = own.ok_or_else(|| host::HostError::NoInterface(format!("number {ifindex}")))?;
    let counts = |interface: &&host::Interface| own.is_loopback || interface.index == ifindex;
    let addresses = interfaces.iter().filter(counts).flat_map(|interface| &interface.addresses);
    Ok(addresses.map(|(address, _)| *address).collect())
}

/// An address of the configuration's own, with its gateway.
fn own_address((own, gateway): (InterfaceAddress, Option<IpAddr>)) -> OwnAddress {
    OwnAddress {
        address: own.address().into(),
        prefix: own.prefix_len(),
        gateway: gateway.map(IpAddress::from),
    }
}

/// When and how often a silent peer is probed.
fn keepalive_times(tcp: &crate::config::Tcp) -> tpa_tcp::Keepalive {
    tpa_tcp::Keepalive {
        idle: tpa_tcp::Duration::from_secs(tcp.keepalive_s.into()),
        interval: tpa_tcp::Duration::from_secs(tcp.keepalive_interval_s.into()),
        count: tcp.keepalive_probes.into(),
    }
}

/// Bytes that connections' buffers may take: what is configured, or Linux's
/// `tcp_mem[2]`, which is 3/32 of the memory that there is.
fn memory_limit(configured_mb: u32) -> usize {
    use nix::unistd::{SysconfVar, sysconf};
    if configured_mb > 0 {
        return configured_mb as usize * (1 << 20);
    }
    let ask = |variable| sysconf(variable).ok().flatten().and_then(|value| usize::try_from(value).ok());
    match (ask(SysconfVar::_PHYS_PAGES), ask(SysconfVar::PAGE_SIZE)) {
        (Some(pages), Some(size)) => pages / 32 * 3 * size,
        _ => usize::MAX,
    }
}

/// TCP's settings from the configuration.
fn tcp_config(config: &Config) -> tpa_tcp::Config {
    use tpa_tcp::Duration;
    let tcp = &config.tcp;
    tpa_tcp::Config {
        rto_initial: Duration::from_millis(tcp.rto_initial_ms.into()),
        rto_min: Duration::from_millis(tcp.rto_min_ms.into()),
        rto_max: Duration::from_millis(tcp.rto_max_ms.into()),
        delayed_ack: Duration::from_millis(tcp.delayed_ack_ms.into()),
        tail_loss_probe: tcp.tail_loss_probe,
        max_ack_delay: Duration::from_millis(tcp.peer_ack_delay_ms.into()),
        initial_window: tcp.initial_window,
        congestion: tcp.congestion.into(),
        ecn: tcp.ecn.into(),
        pacing: tcp.pacing,
        mtu_probing: tcp.mtu_probing.into(),
        syn_retries: tcp.syn_retries.into(),
        synack_retries: tcp.synack_retries.into(),
        data_retries: tcp.retries.into(),
        sndbuf: tcp.sndbuf as usize,
        sndbuf_max: tcp.sndbuf_max as usize,
        notsent_lowat: if tcp.notsent_lowat == 0 { u32::MAX } else { tcp.notsent_lowat },
        rcvbuf: tcp.rcvbuf as usize,
        rcvbuf_max: tcp.rcvbuf_max as usize,
        memory: Arc::new(tpa_tcp::Memory::new(memory_limit(tcp.memory_mb))),
        keepalive: tcp.keepalive.then(|| keepalive_times(tcp)),
        time_wait: Duration::from_secs(tcp.time_wait_s.into()),
        fin_wait2: Duration::from_secs(tcp.fin_wait2_s.into()),
        timestamps: tcp.timestamps,
        sack: tcp.sack,
        window_scaling: tcp.window_scaling,
        ..tpa_tcp::Config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::memory_limit;

    #[test]
    fn buffers_may_take_a_part_of_this_hosts_memory_or_what_is_configured() {
        assert_eq!(memory_limit(3), 3 << 20);
        let text = std::fs::read_to_string("/proc/meminfo").unwrap();
        let total: usize = text.split_whitespace().nth(1).unwrap().parse().unwrap();
        let limit = memory_limit(0);
        assert!((limit / 1024).abs_diff(total / 32 * 3) < total / 100, "{limit} of {total} KiB");
    }
}
