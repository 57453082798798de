//! dprintf(3) and its like: libc writes the text by a call of its own, which no
//! hook sees.

use std::ffi::{c_char, c_int, c_void};

use redhook::hook;

use super::io::write_hook;
use crate::{real, table};

/// Prints into memory by `print`, and writes that; -1 with `errno` for an error.
///
/// # Safety
///
/// What `print` leaves is null or a text from malloc(3) of the length that it
/// returns.
unsafe fn write_text(fd: c_int, print: impl FnOnce(*mut *mut c_char) -> c_int) -> c_int {
    let mut text = std::ptr::null_mut();
    let length = print(&raw mut text);
    if length < 0 {
        return length;
    }
    let mut done = 0;
    while done < length as usize {
        // SAFETY: the rest of the text.
        let count = unsafe { write_hook(fd, text.add(done).cast(), length as usize - done) };
        if count < 0 {
            break;
        }
        done += count as usize;
    }
    // SAFETY: the caller's promise.
    unsafe { libc::free(text.cast()) };
    if done < length as usize {
        -1
    } else {
        length
    }
}

hook! {
    unsafe fn vdprintf(fd: c_int, format: *const c_char, arguments: *mut c_void) -> c_int => vdprintf_hook {
        if table::slot(fd).is_kernel() {
            // SAFETY: the caller's arguments, unchanged.
            return unsafe { real::vdprintf(fd, format, arguments) };
        }
        // SAFETY: the caller's promise.
        unsafe { write_text(fd, |text| real::vasprintf(text, format, arguments)) }
    }
}

hook! {
    unsafe fn __vdprintf_chk(
        fd: c_int,
        flag: c_int,
        format: *const c_char,
        arguments: *mut c_void
    ) -> c_int => vdprintf_chk_hook {
        if table::slot(fd).is_kernel() {
            // SAFETY: the caller's arguments, unchanged.
            return unsafe { real::__vdprintf_chk(fd, flag, format, arguments) };
        }
        // SAFETY: the caller's promise.
        unsafe { write_text(fd, |text| real::__vasprintf_chk(text, flag, format, arguments)) }
    }
}

/// A variadic function in front of one that takes a `va_list` (System V ABI for
/// x86-64, 3.5.7): saves the registers in which arguments may have come, and passes
/// a list that begins behind the named ones.
#[cfg(target_arch = "x86_64")]
macro_rules! variadic {
    ($name:ident, $target:ident, $named:literal, $list:literal) => {
        /// Plain, because it is variadic.
        ///
        /// # Safety
        ///
        /// As dprintf(3).
        #[unsafe(naked)]
        #[no_mangle]
        pub unsafe extern "C" fn $name() {
            std::arch::naked_asm!(
                ".cfi_startproc",
                // 24 bytes of list, 176 of registers, and the alignment of the stack.
                "sub rsp, 216",
                ".cfi_adjust_cfa_offset 216",
                "mov [rsp + 32], rdi",
                "mov [rsp + 40], rsi",
                "mov [rsp + 48], rdx",
                "mov [rsp + 56], rcx",
                "mov [rsp + 64], r8",
                "mov [rsp + 72], r9",
                "test al, al",
                "je 2f",
                "movaps [rsp + 80], xmm0",
                "movaps [rsp + 96], xmm1",
                "movaps [rsp + 112], xmm2",
                "movaps [rsp + 128], xmm3",
                "movaps [rsp + 144], xmm4",
                "movaps [rsp + 160], xmm5",
                "movaps [rsp + 176], xmm6",
                "movaps [rsp + 192], xmm7",
                "2:",
                concat!("mov dword ptr [rsp + 8], ", $named, " * 8"),
                "mov dword ptr [rsp + 12], 48",
                "lea rax, [rsp + 224]",
                "mov [rsp + 16], rax",
                "lea rax, [rsp + 32]",
                "mov [rsp + 24], rax",
                concat!("lea ", $list, ", [rsp + 8]"),
                "call {target}",
                "add rsp, 216",
                ".cfi_adjust_cfa_offset -216",
                "ret",
                ".cfi_endproc",
                target = sym $target,
            )
        }
    };
}

#[cfg(target_arch = "x86_64")]
unsafe extern "C" fn print(fd: c_int, format: *const c_char, arguments: *mut c_void) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { vdprintf_hook(fd, format, arguments) }
}

#[cfg(target_arch = "x86_64")]
unsafe extern "C" fn print_checked(
    fd: c_int,
    flag: c_int,
    format: *const c_char,
    arguments: *mut c_void,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { vdprintf_chk_hook(fd, flag, format, arguments) }
}

#[cfg(target_arch = "x86_64")]
variadic!(dprintf, print, "2", "rdx");
#[cfg(target_arch = "x86_64")]
variadic!(__dprintf_chk, print_checked, "3", "rcx");
