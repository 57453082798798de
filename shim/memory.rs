//! Pointers of the program, where the kernel would answer `EFAULT`.
//!
//! What can be told from an address alone costs a comparison: null and its page,
//! which no program can map (`vm.mmap_min_addr`, proc(5)), and the kernel's half
//! of the address space. An address in between at which nothing is mapped faults
//! in the program, as it would in a function of libc that reads it.

use nix::errno::Errno;

/// The first page is never a program's.
const FIRST: usize = 0x1000;
/// Addresses from here on are the kernel's.
const END: usize = isize::MAX as usize;

/// Whether memory of a program can lie there. No bytes may lie anywhere.
#[inline(always)]
pub fn is_possible(address: *const u8, length: usize) -> bool {
    // An address below FIRST becomes a large one.
    length == 0 || (length < END - FIRST && (address as usize).wrapping_sub(FIRST) < END - FIRST - length)
}

fn check<T>(address: *const T, count: usize) -> Result<(), Errno> {
    let length = count.checked_mul(size_of::<T>()).ok_or(Errno::EFAULT)?;
    if is_possible(address.cast(), length) {
        Ok(())
    } else {
        Err(Errno::EFAULT)
    }
}

/// A value that the program passed by its address.
///
/// # Errors
///
/// `EFAULT`.
///
/// # Safety
///
/// Unless it is an impossible one, the address is the program's to be read from,
/// as plain data.
pub unsafe fn read<T: Copy>(address: *const T) -> Result<T, Errno> {
    check(address, 1)?;
    // SAFETY: the caller's promise.
    Ok(unsafe { address.read_unaligned() })
}

/// Leaves a value where the program wants it.
///
/// # Errors
///
/// `EFAULT`.
///
/// # Safety
///
/// Unless it is an impossible one, the address is the program's to be written to.
pub unsafe fn write<T: Copy>(address: *mut T, value: T) -> Result<(), Errno> {
    check(address, 1)?;
    // SAFETY: the caller's promise.
    unsafe { address.write_unaligned(value) };
    Ok(())
}

/// A value of the program's, to be read and changed.
///
/// # Errors
///
/// `EFAULT`.
///
/// # Safety
///
/// Unless it is an impossible one, the address is an aligned one of the
/// program's, which nobody else uses during `'a`.
pub unsafe fn borrow<'a, T>(address: *mut T) -> Result<&'a mut T, Errno> {
    check(address, 1)?;
    // SAFETY: the caller's promise.
    Ok(unsafe { &mut *address })
}

/// An array of the program's; an empty one may lie anywhere.
///
/// # Errors
///
/// `EFAULT`.
///
/// # Safety
///
/// As [`borrow`], for `count` values.
pub unsafe fn array<'a, T>(address: *mut T, count: usize) -> Result<&'a mut [T], Errno> {
    check(address, count)?;
    if count == 0 {
        return Ok(&mut []);
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts_mut(address, count) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr::{null_mut, without_provenance_mut};

    #[test]
    fn what_no_program_can_own_is_a_fault() {
        let mut byte = 7_u8;
        let far = without_provenance_mut::<u8>(usize::MAX - 4095);
        for address in [null_mut(), without_provenance_mut(8), far] {
            // SAFETY: impossible addresses are refused.
            unsafe {
                assert_eq!(read(address), Err(Errno::EFAULT));
                assert_eq!(write(address, 1), Err(Errno::EFAULT));
                assert_eq!(array(address, 1).map(|array| array.len()), Err(Errno::EFAULT));
                assert_eq!(array(address, 0).map(|array| array.len()), Ok(0));
            }
        }
        // SAFETY: a byte of ours, or refused.
        unsafe {
            assert_eq!(read(&raw const byte), Ok(7));
            assert_eq!(write(&raw mut byte, 8), Ok(()));
            assert_eq!(array(&raw mut byte, usize::MAX).map(|array| array.len()), Err(Errno::EFAULT));
        }
        assert_eq!(byte, 8);
    }
}
