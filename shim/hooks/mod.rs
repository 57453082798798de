//! The functions that the library exports: libc's names, libc's types.
//!
//! Each is thin. It looks the number up; what is the kernel's goes to the real
//! function at once, arguments and `errno` untouched. What is ours becomes safe
//! types (pointers and lengths are checked here) and goes through
//! [`crate::boundary`] to a safe function.
//!
//! redhook declares them. Plain exported functions stand where its `hook!`
//! cannot: variadic ones (fcntl, ioctl, syscall), those that a libc may lack (its lookup
//! panics then), and those that never return. A variadic function is met by one
//! of fixed arity: on x86-64 and AArch64 integer arguments travel the same way.

mod aliases;
mod credentials;
mod descriptor;
mod epoll;
mod io;
mod limits;
mod messages;
mod options;
mod poll;
mod positioned;
mod print;
mod process;
mod raw;
mod signal;
mod socket;
mod status;
mod transfer;
