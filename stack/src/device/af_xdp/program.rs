//! The steering program of an interface: loaded and attached by whoever comes
//! first, joined by whoever comes later.
//!
//! It is attached by a `bpf_link`, each process holding a descriptor of it: the
//! program goes when the last of them dies, however that is.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use aya::maps::{Array, HashMap, Map, MapData, MapInfo, PerCpuArray, XskMap};
use aya::programs::links::{FdLink, LinkType};
use aya::programs::{ProgramError, ProgramInfo, Xdp, XdpMode, loaded_links, loaded_programs};
use aya::{EbpfLoader, Pod};

use super::OpenError;
use super::abi::{TPA_STEER_ABI, tpa_address, tpa_instance, tpa_listener};

/// The program's name, as the kernel lists it.
const PROGRAM: &str = "tpa_steer";

/// How often an attached program that is not yet, or no longer, ours to join is
/// looked at again, and how long between.
const JOIN_TRIES: u32 = 20;
const JOIN_WAIT: Duration = Duration::from_millis(10);

// SAFETY: structs of C without padding or pointers.
unsafe impl Pod for tpa_listener {}
// SAFETY: as above.
unsafe impl Pod for tpa_address {}
// SAFETY: as above.
unsafe impl Pod for tpa_instance {}

/// Names of the maps, in the order in which tpad passes them on.
const MAPS: [&str; 6] = ["xsks", "listeners", "addresses", "blocks", "counters", "instance"];

/// The program's maps; see `bpf/steer.h`.
pub(super) struct Maps {
    pub xsks: XskMap<MapData>,
    pub listeners: HashMap<MapData, tpa_listener, u32>,
    pub addresses: HashMap<MapData, tpa_address, u32>,
    pub blocks: Array<MapData, u32>,
    pub counters: PerCpuArray<MapData, u64>,
    instance: Array<MapData, tpa_instance>,
}

/// Holds the program on the interface.
#[derive(Debug)]
#[expect(dead_code, reason = "kept open, for the kernel")]
enum Link {
    Ours(FdLink),
    Joined(OwnedFd),
}

/// An attached steering program.
pub(super) struct Program {
    _link: Link,
    pub maps: Maps,
}

impl Program {
    /// Joins the program on an interface, or attaches one.
    pub fn open(interface: &str, ifindex: u32) -> Result<Self, OpenError> {
        let wanted = instance(ifindex).map_err(|source| OpenError::Steering(source.to_string()))?;
        for _ in 0..JOIN_TRIES {
            if let Some(program) = join(&wanted)? {
                log::info!("{interface}: joined the steering program of another process");
                return Ok(program);
            }
            match load(interface, &wanted) {
                Err(OpenError::Occupied(_)) => std::thread::sleep(JOIN_WAIT),
                outcome => return outcome,
            }
        }
        Err(OpenError::Occupied(interface.to_owned()))
    }

    /// The program that a privileged process shares: see [`share`].
    pub fn from_shared(fds: Vec<OwnedFd>) -> Option<Self> {
        let mut fds = fds.into_iter();
        let link = Link::Joined(fds.next()?);
        let mut named: Vec<_> = MAPS.into_iter().zip(fds).collect();
        let maps = Maps::collect(|name| {
            let index = named.iter().position(|(found, _)| *found == name)?;
            Map::from_map_data(MapData::from_fd(named.swap_remove(index).1).ok()?).ok()
        })?;
        Some(Self { _link: link, maps })
    }
}

/// Descriptors of the program on an interface, for a process that may not open
/// them itself: its link, then its maps in the order of [`MAPS`].
pub fn share(interface: &str, ifindex: u32) -> Result<Vec<OwnedFd>, OpenError> {
    // Holds the program until the copies do.
    let _held = Program::open(interface, ifindex)?;
    let found = find(&instance(ifindex).map_err(steering)?)?;
    let Found { link, program, .. } = found.ok_or_else(|| steering("the program has gone"))?;
    let ids = program.map_ids().map_err(steering)?.unwrap_or_default();
    let id_of = |name| ids.iter().find(|&&id| map_name(id).as_deref() == Some(name)).copied();
    let mut fds = vec![link_by_id(link).map_err(steering)?];
    for name in MAPS {
        let id = id_of(name).ok_or_else(|| steering("maps are missing"))?;
        fds.push(fd_by_id(BPF_MAP_GET_FD_BY_ID, id).map_err(steering)?);
    }
    Ok(fds)
}

/// Which interface of which network namespace this is.
fn instance(ifindex: u32) -> io::Result<tpa_instance> {
    let namespace = std::fs::metadata("/proc/thread-self/ns/net")?;
    Ok(tpa_instance { abi: TPA_STEER_ABI, ifindex, netns_dev: namespace.dev(), netns_inode: namespace.ino() })
}

fn steering(error: impl std::fmt::Display) -> OpenError {
    OpenError::Steering(error.to_string())
}

/// An attached program of ours.
struct Found {
    /// Number of its link.
    link: u32,
    program: ProgramInfo,
    maps: Maps,
}

/// Finds the attached program that says it is of this interface.
fn find(wanted: &tpa_instance) -> Result<Option<Found>, OpenError> {
    let links = loaded_links().flatten().filter(|link| matches!(link.link_type(), Ok(LinkType::Xdp)));
    for link in links {
        let Some(program) = loaded_programs().flatten().find(|program| program.id() == link.program_id())
        else {
            continue;
        };
        if program.name() != PROGRAM.as_bytes() {
            continue;
        }
        let Some(maps) = maps_of(&program) else { continue };
        let Ok(found) = maps.instance.get(&0, 0) else { continue };
        if (found.ifindex, found.netns_dev, found.netns_inode)
            != (wanted.ifindex, wanted.netns_dev, wanted.netns_inode)
        {
            continue;
        }
        if found.abi != wanted.abi {
            return Err(OpenError::OtherVersion { found: found.abi, wanted: wanted.abi });
        }
        return Ok(Some(Found { link: link.id(), program, maps }));
    }
    Ok(None)
}

/// Holds the program that [`find`] finds; it may have died since.
fn join(wanted: &tpa_instance) -> Result<Option<Program>, OpenError> {
    let Some(Found { link, maps, .. }) = find(wanted)? else { return Ok(None) };
    Ok(link_by_id(link).ok().map(|link| Program { _link: Link::Joined(link), maps }))
}

fn map_name(id: u32) -> Option<String> {
    Some(MapInfo::from_id(id).ok()?.name_as_str()?.to_owned())
}

/// Opens the maps of a loaded program by their names.
fn maps_of(program: &ProgramInfo) -> Option<Maps> {
    let ids = program.map_ids().ok()??;
    let mut named: Vec<(String, MapData)> =
        ids.into_iter().filter_map(|id| Some((map_name(id)?, MapData::from_id(id).ok()?))).collect();
    Maps::collect(|name| {
        let index = named.iter().position(|(found, _)| found == name)?;
        Map::from_map_data(named.swap_remove(index).1).ok()
    })
}

/// Commands of bpf(2) that make a descriptor.
const BPF_MAP_GET_FD_BY_ID: libc::c_long = 14;
const BPF_LINK_GET_FD_BY_ID: libc::c_long = 30;

/// A descriptor of a link.
fn link_by_id(id: u32) -> io::Result<OwnedFd> {
    fd_by_id(BPF_LINK_GET_FD_BY_ID, id)
}

/// A descriptor of what has a number in the kernel (bpf(2)).
fn fd_by_id(command: libc::c_long, id: u32) -> io::Result<OwnedFd> {
    // The part of union bpf_attr that such commands read: id, next_id, open_flags.
    let attr: [u32; 3] = [id, 0, 0];
    // SAFETY: the kernel reads as many bytes of `attr` as it is told.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_ptr(), size_of_val(&attr)) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor, ours alone; the kernel makes it close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Memory that loading may take at its peak, in bytes: some ten times the
/// kernel's types, which are about 5 MiB.
const LOADER_MEMORY: usize = 64 << 20;

/// Loads the program and attaches it. `OpenError::Occupied` when there is one.
fn load(interface: &str, instance: &tpa_instance) -> Result<Program, OpenError> {
    let object = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/steer.bpf.o"));
    // The loader reads the kernel's own types, which are not used, before it can be
    // told not to, and a failed allocation there would abort the program.
    Vec::<u8>::new()
        .try_reserve_exact(LOADER_MEMORY)
        .map_err(|_| steering("too little memory to load the program"))?;
    let mut ebpf = EbpfLoader::new()
        .btf(None)
        .load(object)
        .map_err(|error| if is_permission(&error) { OpenError::Permission } else { steering(error) })?;
    let mut maps = Maps::collect(|name| ebpf.take_map(name)).ok_or_else(|| steering("maps are missing"))?;
    // Before it is attached, so that whoever finds it knows whose it is.
    maps.instance.set(0, *instance, 0).map_err(steering)?;
    let program: &mut Xdp =
        ebpf.program_mut(PROGRAM).ok_or_else(|| steering("no program"))?.try_into().map_err(steering)?;
    program
        .load()
        .map_err(|error| if is_permission(&error) { OpenError::Permission } else { steering(error) })?;
    let link = attach(program, interface, instance.ifindex)?;
    Ok(Program { _link: Link::Ours(link), maps })
}

/// Attaches in the driver where it can, else in the kernel's generic hook.
fn attach(program: &mut Xdp, interface: &str, ifindex: u32) -> Result<FdLink, OpenError> {
    let id = match program.attach_to_if_index(ifindex, XdpMode::Driver) {
        Err(error) if !is_occupied(&error) => {
            log::warn!(
                "{interface}: XDP in the driver is not possible ({}): generic XDP, which is slower",
                root(&error)
            );
            program.attach_to_if_index(ifindex, XdpMode::Skb)
        }
        outcome => outcome,
    };
    let id = id.map_err(|error| {
        if is_occupied(&error) { OpenError::Occupied(interface.to_owned()) } else { steering(root(&error)) }
    })?;
    let link = program.take_link(id).map_err(steering)?;
    // A kernel without links for XDP (before 5.9) would keep the program after us.
    link.try_into().map_err(|_| steering("this kernel has no bpf_link for XDP"))
}

/// EBUSY: a program is attached; EEXIST: one of the other mode.
fn is_occupied(error: &ProgramError) -> bool {
    matches!(errno(error), Some(libc::EBUSY | libc::EEXIST))
}

fn is_permission(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(errno(error), Some(libc::EPERM | libc::EACCES))
}

/// The system call's error at the bottom of a chain of errors.
fn errno(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    chain(error).find_map(|error| error.downcast_ref::<io::Error>()?.raw_os_error())
}

/// The innermost error, which says most.
fn root<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    chain(error).last().unwrap_or(error)
}

fn chain<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

impl Maps {
    fn collect(mut take: impl FnMut(&str) -> Option<Map>) -> Option<Self> {
        Some(Self {
            xsks: take("xsks")?.try_into().ok()?,
            listeners: take("listeners")?.try_into().ok()?,
            addresses: take("addresses")?.try_into().ok()?,
            blocks: take("blocks")?.try_into().ok()?,
            counters: take("counters")?.try_into().ok()?,
            instance: take("instance")?.try_into().ok()?,
        })
    }
}
