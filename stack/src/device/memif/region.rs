//! Shared memory regions: made by the client, mapped by both ends.
//!
//! The peer of a region is not trusted. A file that could shrink would turn
//! our next load into SIGBUS, so a peer's region must be sealed against that
//! (memfd_create(2), `F_SEAL_SHRINK`) or let us seal it; and it must be plain
//! memory, since a hole in a file of huge pages may be impossible to fill.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;

use memmap2::{Advice, MmapOptions, MmapRaw};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::fstat;
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};
use thiserror::Error;

/// Largest region that we map: descriptors hold offsets of 32 bits.
pub const MAX_REGION_LEN: u64 = 1 << 32;

/// Why a peer's region is refused, or ours could not be made.
#[derive(Debug, Error)]
pub enum RegionError {
    /// It is empty or larger than offsets can tell.
    #[error("a region of {0} bytes")]
    Size(u64),
    /// The file is smaller than the peer says.
    #[error("a region of {claimed} bytes in a file of {actual}")]
    Short {
        /// What the message says.
        claimed: u64,
        /// What the file has.
        actual: i64,
    },
    /// It is a file of huge pages, a disk file or no file at all.
    #[error("a region that is not plain memory (zero-copy peers are not supported)")]
    Kind,
    /// Its file could shrink under us.
    #[error("a region whose file can shrink: it is not sealed and cannot be")]
    Unsealed,
    /// The system refused.
    #[error("shared memory: {0}")]
    System(#[from] io::Error),
}

impl From<nix::Error> for RegionError {
    fn from(errno: nix::Error) -> Self {
        Self::System(errno.into())
    }
}

/// One mapped region. A forked child does not have it.
#[derive(Debug)]
pub struct Region {
    map: MmapRaw,
    base: NonNull<u8>,
}

// SAFETY: the region gives out its address and length alone; who uses them answers for that.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Makes a region of zeroes, sealed at its size, and the descriptor to
    /// send to the peer.
    pub fn create(len: usize) -> Result<(Self, OwnedFd), RegionError> {
        if len == 0 || len as u64 > MAX_REGION_LEN {
            return Err(RegionError::Size(len as u64));
        }
        let fd = memfd_create("memif", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        nix::unistd::ftruncate(&fd, len as i64)?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&fd, FcntlArg::F_ADD_SEALS(seals))?;
        Ok((Self::map(&fd, len)?, fd))
    }

    /// Maps a region that a peer made.
    pub fn from_peer(fd: OwnedFd, len: u64) -> Result<Self, RegionError> {
        if len == 0 || len > MAX_REGION_LEN {
            return Err(RegionError::Size(len));
        }
        if fstatfs(&fd)?.filesystem_type() != TMPFS_MAGIC {
            return Err(RegionError::Kind);
        }
        seal(&fd)?;
        let actual = fstat(&fd)?.st_size;
        if (actual as u64) < len {
            return Err(RegionError::Short { claimed: len, actual });
        }
        Self::map(&fd, len as usize)
    }

    fn map(fd: &OwnedFd, len: usize) -> Result<Self, RegionError> {
        let map = MmapOptions::new().len(len).map_raw(fd.as_raw_fd())?;
        map.advise(Advice::DontFork)?;
        let base = NonNull::new(map.as_mut_ptr()).ok_or_else(|| io::Error::other("mapped at zero"))?;
        Ok(Self { map, base })
    }

    /// Address of the first byte.
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Mapped bytes.
    pub fn len(&self) -> usize {
        self.map.len()
    }
}

/// Makes sure that the file cannot shrink from now on.
fn seal(fd: &OwnedFd) -> Result<(), RegionError> {
    let seals = fcntl(fd, FcntlArg::F_GET_SEALS).map_err(|_| RegionError::Unsealed)?;
    if seals & SealFlag::F_SEAL_SHRINK.bits() != 0 {
        return Ok(());
    }
    fcntl(fd, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK)).map_err(|_| RegionError::Unsealed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memfd(flags: MFdFlags, len: i64) -> OwnedFd {
        let fd = memfd_create("peer", flags).unwrap();
        nix::unistd::ftruncate(&fd, len).unwrap();
        fd
    }

    #[test]
    fn both_ends_see_the_same_bytes() {
        let (ours, fd) = Region::create(8192).unwrap();
        let theirs = Region::from_peer(fd, 8192).unwrap();
        // SAFETY: both mappings are 8192 bytes long and nobody else has them.
        unsafe {
            ours.base().add(8191).write(42);
            assert_eq!(theirs.base().add(8191).read(), 42);
        }
        assert_eq!(theirs.len(), 8192);
    }

    #[test]
    fn a_region_without_seals_is_sealed_by_us() {
        let fd = memfd(MFdFlags::MFD_ALLOW_SEALING, 4096);
        let copy = fd.try_clone().unwrap();
        Region::from_peer(fd, 4096).unwrap();
        assert!(nix::unistd::ftruncate(&copy, 0).is_err());
    }

    #[test]
    fn a_region_that_can_shrink_is_refused() {
        let refused = Region::from_peer(memfd(MFdFlags::empty(), 4096), 4096);
        assert!(matches!(refused, Err(RegionError::Unsealed)));
    }

    #[test]
    fn a_region_shorter_than_told_is_refused() {
        let refused = Region::from_peer(memfd(MFdFlags::MFD_ALLOW_SEALING, 4095), 4096);
        assert!(matches!(refused, Err(RegionError::Short { claimed: 4096, actual: 4095 })));
    }

    #[test]
    fn what_is_no_plain_memory_is_refused() {
        for path in ["/dev/null", "/proc/self/maps"] {
            let file = std::fs::File::open(path).unwrap();
            assert!(Region::from_peer(file.into(), 4096).is_err(), "{path}");
        }
    }

    #[test]
    fn absurd_sizes_are_refused() {
        for size in [0, MAX_REGION_LEN + 1, u64::MAX] {
            let fd = memfd(MFdFlags::MFD_ALLOW_SEALING, 4096);
            assert!(matches!(Region::from_peer(fd, size), Err(RegionError::Size(_))));
        }
    }
}
