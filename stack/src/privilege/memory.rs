//! Which file stands behind a piece of this process's memory (proc_pid_maps(5)).

use std::fs;
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt;

/// A piece of memory as a part of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Region {
    /// A descriptor of the file, which is open in this process.
    pub file: RawFd,
    /// Where the piece begins in the file, in bytes.
    pub offset: u64,
    /// Bytes of it.
    pub length: u64,
}

impl Region {
    /// What a `struct xdp_umem_reg` (linux/if_xdp.h) names, and what comes after it in
    /// the struct. `None` unless the memory lies in one shared mapping of a file that
    /// has no name but is open, as DPDK's memory is.
    pub fn of_registration(registration: &[u8]) -> Option<(Self, &[u8])> {
        let (address, rest) = registration.split_first_chunk()?;
        let (length, options) = rest.split_first_chunk()?;
        let (address, length) = (u64::from_ne_bytes(*address), u64::from_ne_bytes(*length));
        Some((Self::of_memory(address, length)?, options))
    }

    fn of_memory(address: u64, length: u64) -> Option<Self> {
        let maps = fs::read_to_string("/proc/self/maps").ok()?;
        let (offset, inode) = maps.lines().find_map(|line| place_in(line, address, length))?;
        Some(Self { file: open_memfd(inode)?, offset, length })
    }
}

/// Where in its memfd a piece of memory begins, and the file's inode, if this line of
/// maps has it all.
fn place_in(line: &str, address: u64, length: u64) -> Option<(u64, u64)> {
    let mut words = line.split_whitespace();
    let (begin, end) = words.next()?.split_once('-')?;
    let hexadecimal = |text| u64::from_str_radix(text, 16).ok();
    let (begin, end) = (hexadecimal(begin)?, hexadecimal(end)?);
    let is_shared = words.next()? == "rw-s";
    let offset = hexadecimal(words.next()?)?;
    let inode = words.nth(1)?.parse().ok()?;
    let is_memfd = words.next()?.starts_with("/memfd:");
    let holds_it = (begin..end).contains(&address) && address.checked_add(length)? <= end;
    (is_shared && is_memfd && holds_it).then(|| (offset + (address - begin), inode))
}

/// The open descriptor of a memfd (memfd_create(2)).
fn open_memfd(inode: u64) -> Option<RawFd> {
    let is_it = |path: &std::path::Path| {
        fs::read_link(path).is_ok_and(|target| target.to_string_lossy().starts_with("/memfd:"))
            && fs::metadata(path).is_ok_and(|file| file.ino() == inode)
    };
    let entries = fs::read_dir("/proc/self/fd").ok()?.flatten();
    let entry = entries.map(|entry| entry.path()).find(|path| is_it(path))?;
    entry.file_name()?.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use nix::sys::memfd::{MFdFlags, memfd_create};

    use super::*;

    #[test]
    fn memory_of_a_memfd_is_found_and_other_memory_is_not() {
        let file = memfd_create("test", MFdFlags::MFD_CLOEXEC).unwrap();
        nix::unistd::ftruncate(&file, 0x4000).unwrap();
        // SAFETY: a new mapping.
        let mut map = unsafe { memmap2::MmapMut::map_mut(&file) }.unwrap();
        let address = map.as_mut_ptr() as u64;
        let registration = |address: u64, length: u64| {
            [&address.to_ne_bytes()[..], &length.to_ne_bytes(), b"options"].concat()
        };
        let whole = registration(address + 0x1000, 0x3000);
        let (region, options) = Region::of_registration(&whole).unwrap();
        assert_eq!(region, Region { file: file.as_raw_fd(), offset: 0x1000, length: 0x3000 });
        assert_eq!(options, b"options");
        assert_eq!(Region::of_registration(&registration(address + 0x1000, 0x3001)), None);
        assert_eq!(Region::of_registration(&registration(whole.as_ptr() as u64, 1)), None);
        assert_eq!(Region::of_registration(b"short"), None);
    }
}
