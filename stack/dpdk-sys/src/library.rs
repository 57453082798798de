//! Finding and opening `libtpa_dpdk.so`.

use std::ffi::{CStr, CString, c_void};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::OnceLock;

use crate::table::{self, TPA_DPDK_ABI, tpa_dpdk};

/// File name of the object.
const OBJECT: &str = "libtpa_dpdk.so";

/// Environment variable that names the object's path, for unusual layouts.
const OVERRIDE: &str = "TPA_DPDK_SO";

/// Why DPDK is not there.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// No such file beside this code.
    #[error("{OBJECT} not found beside this library ({0}); {OVERRIDE} can name it")]
    NotFound(String),
    /// The dynamic linker refused it; usually a library that it needs is missing.
    #[error("cannot load {path}: {reason}")]
    Load {
        /// The object that was tried.
        path: PathBuf,
        /// What dlopen(3) says.
        reason: String,
    },
    /// An object of another build.
    #[error("{0} belongs to another version of this library")]
    Version(PathBuf),
}

/// DPDK, loaded; EAL may or may not run yet.
#[derive(Debug)]
pub struct Dpdk {
    table: &'static tpa_dpdk,
}

impl Dpdk {
    /// Loads `libtpa_dpdk.so`, once a process; later calls return the first
    /// outcome. The object stays loaded, since EAL's threads run in it.
    pub fn open() -> Result<&'static Dpdk, OpenError> {
        static OPENED: OnceLock<Result<Dpdk, OpenError>> = OnceLock::new();
        OPENED.get_or_init(|| load(&locate()?)).as_ref().map_err(Clone::clone)
    }

    /// Version of DPDK, such as `DPDK 22.11.11`.
    pub fn version(&self) -> String {
        // SAFETY: takes nothing, returns a static string.
        let text = unsafe { (self.f().version)() };
        // SAFETY: as above: NUL-terminated and static.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }

    /// The functions of the table.
    #[inline]
    pub(crate) fn f(&self) -> &'static Functions {
        // SAFETY: `load` has checked that each pointer is set, and a struct of
        // `Option<fn>` has the layout of the same struct of `fn`.
        unsafe { &*(&raw const self.table.version).cast::<Functions>() }
    }
}

/// Defines [`Functions`]: the table's pointers, in its order, known to be set.
macro_rules! functions {
    ($($name:ident($($arg:ty),*) $(-> $ret:ty)?;)*) => {
        /// The table's functions without their `Option`; see `c/table.h`.
        #[repr(C)]
        pub(crate) struct Functions {
            $(pub(crate) $name: unsafe extern "C" fn($($arg),*) $(-> $ret)?,)*
        }

        /// Fails to compile when a signature differs from the header's.
        #[allow(dead_code)]
        fn same_as_header(table: &tpa_dpdk) {
            $(let _: Option<unsafe extern "C" fn($($arg),*) $(-> $ret)?> = table.$name;)*
        }
    };
}

use std::ffi::c_char;
type RawPool = table::tpa_pool;

functions! {
    version() -> *const c_char;
    set_log(table::tpa_log_fn, u32);
    eal_init(i32, *mut *mut c_char) -> i32;
    vdev_create(*const c_char, *const c_char) -> i32;
    vdev_remove(*const c_char) -> i32;
    device_probe(*const c_char) -> i32;
    port_of(*const c_char, *mut u16) -> i32;
    port_device_remove(u16) -> i32;
    port_info(u16, *mut table::tpa_port_info) -> i32;
    port_stats(u16, *mut table::tpa_port_stats) -> i32;
    port_configure(u16, u16, u16, u16, u32, bool) -> i32;
    rx_queue_setup(u16, u16, u16, *mut RawPool) -> i32;
    tx_queue_setup(u16, u16, u16) -> i32;
    port_start(u16) -> i32;
    port_stop(u16) -> i32;
    port_link(u16) -> bool;
    rx_interrupt_fd(u16, u16) -> i32;
    rx_interrupt(u16, u16, bool) -> i32;
    rx_pending(u16, u16) -> i32;
    pool_create(*const c_char, u32, u32, u32, *mut *mut RawPool) -> i32;
    pool_free(*mut RawPool);
    pool_available(*const RawPool) -> u32;
    alloc(*mut RawPool, *mut table::tpa_frame) -> bool;
    free(*mut c_void);
    rx_burst(u16, u16, *mut table::tpa_frame, u16) -> u16;
    tx_burst(u16, u16, *const RawPool, *const table::tpa_frame, u16) -> u16;
    pool_owns(*const RawPool, *const c_void) -> bool;
    xsk(*const c_char, u32, *mut table::tpa_xsk) -> i32;
    xsk_probe(*const c_char, u32) -> i32;
    xsk_error() -> i32;
    flow_isolate(u16, bool) -> i32;
    flow_create(u16, *const table::tpa_flow, *mut *mut c_void, *mut c_char, usize) -> i32;
    flow_destroy(u16, *mut c_void) -> i32;
}

// The table is its two numbers and then nothing but these functions.
const _: () = assert!(size_of::<tpa_dpdk>() == 2 * size_of::<u32>() + size_of::<Functions>());

/// Where the object should be: named by the environment, or beside the object
/// that holds this code.
fn locate() -> Result<PathBuf, OpenError> {
    if let Some(path) = std::env::var_os(OVERRIDE) {
        return Ok(path.into());
    }
    beside(OBJECT).ok_or_else(|| {
        OpenError::NotFound(own_path().map_or("own path unknown".into(), |own| own.display().to_string()))
    })
}

/// A file of that name beside the object that holds this code (or one above it,
/// for cargo's `deps`).
pub fn beside(name: &str) -> Option<PathBuf> {
    let own = own_path()?;
    own.ancestors().skip(1).take(2).map(|directory| directory.join(name)).find(|path| path.is_file())
}

/// Path of the object that holds this function. From the kernel's list of
/// mappings, since dladdr(3) repeats what LD_PRELOAD said, perhaps relative to
/// a directory that the program has left.
fn own_path() -> Option<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    path_of_mapping(&maps, own_path as fn() -> Option<PathBuf> as usize)
}

/// The file that backs `address` in a `/proc/self/maps` text (proc(5)).
fn path_of_mapping(maps: &str, address: usize) -> Option<PathBuf> {
    let line = maps.lines().find(|line| {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let Some((start, end)) = range else { return false };
        let parse = |text| usize::from_str_radix(text, 16).ok();
        matches!((parse(start), parse(end)), (Some(start), Some(end)) if (start..end).contains(&address))
    })?;
    let path = line.get(line.find('/')?..)?;
    Some(PathBuf::from(path.strip_suffix(" (deleted)").unwrap_or(path)))
}

fn load(path: &Path) -> Result<Dpdk, OpenError> {
    let failed = |reason: String| OpenError::Load { path: path.to_owned(), reason };
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| failed("a NUL in the path".into()))?;
    // SAFETY: a NUL-terminated path; the object's constructors only register drivers.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    let handle = NonNull::new(handle).ok_or_else(|| failed(linker_error()))?;
    // SAFETY: a handle that dlopen gave, and a NUL-terminated name.
    let symbol = unsafe { libc::dlsym(handle.as_ptr(), c"tpa_dpdk_table".as_ptr()) };
    let symbol = NonNull::new(symbol).ok_or_else(|| failed(linker_error()))?;
    // SAFETY: the symbol of that name is a function of this type.
    let table_of: unsafe extern "C" fn() -> *const tpa_dpdk = unsafe { std::mem::transmute(symbol.as_ptr()) };
    // SAFETY: it returns a pointer to a constant, which begins with two numbers
    // in every version.
    let table = unsafe { &*table_of() };
    if table.abi != TPA_DPDK_ABI || table.size as usize != size_of::<tpa_dpdk>() || !is_complete(table) {
        return Err(OpenError::Version(path.to_owned()));
    }
    Ok(Dpdk { table })
}

/// Whether no function is missing.
fn is_complete(table: &'static tpa_dpdk) -> bool {
    let first = (&raw const table.version).cast::<usize>();
    let count = size_of::<Functions>() / size_of::<usize>();
    // SAFETY: the table ends with `count` pointers from `version` on (asserted
    // above), read as integers.
    unsafe { std::slice::from_raw_parts(first, count) }.iter().all(|&pointer| pointer != 0)
}

fn linker_error() -> String {
    // SAFETY: returns NULL or a string that is valid until this thread's next call.
    let text = unsafe { libc::dlerror() };
    if text.is_null() {
        return "unknown reason".into();
    }
    // SAFETY: not NULL, so a NUL-terminated string, copied at once.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
00400000-00452000 r-xp 00000000 08:02 173521 /usr/bin/a program
7f00-7fff r--p 00000000 00:00 0
8000-9000 r-xp 00000000 08:02 1 /opt/libtpa_shim.so (deleted)
";

    #[test]
    fn a_mapping_names_the_file_of_an_address() {
        assert_eq!(path_of_mapping(MAPS, 0x401000), Some("/usr/bin/a program".into()));
        assert_eq!(path_of_mapping(MAPS, 0x8000), Some("/opt/libtpa_shim.so".into()));
    }

    #[test]
    fn an_address_without_a_file_has_no_path() {
        assert_eq!(path_of_mapping(MAPS, 0x7f10), None);
        assert_eq!(path_of_mapping(MAPS, 0x9000), None);
    }

    #[test]
    fn the_own_path_is_this_test() {
        assert_eq!(own_path(), std::env::current_exe().ok());
    }

    #[test]
    fn the_table_opens() {
        let dpdk = Dpdk::open().expect("built beside this test");
        assert!(dpdk.version().starts_with("DPDK "), "{}", dpdk.version());
    }
}
