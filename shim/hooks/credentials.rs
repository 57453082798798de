//! setuid(2) and its kin: the last moment at which a program still has the
//! privileges that its stack will need.

use libc::{c_int, uid_t};
use redhook::hook;

use crate::{privilege, real};

hook! {
    unsafe fn setuid(uid: uid_t) -> c_int => setuid_hook {
        privilege::keep_before(uid);
        // SAFETY: the caller's argument, unchanged.
        unsafe { real::setuid(uid) }
    }
}

hook! {
    unsafe fn seteuid(effective: uid_t) -> c_int => seteuid_hook {
        privilege::keep_before(effective);
        // SAFETY: the caller's argument, unchanged.
        unsafe { real::seteuid(effective) }
    }
}

hook! {
    unsafe fn setreuid(user: uid_t, effective: uid_t) -> c_int => setreuid_hook {
        privilege::keep_before(effective);
        // SAFETY: the caller's arguments, unchanged.
        unsafe { real::setreuid(user, effective) }
    }
}

hook! {
    unsafe fn setresuid(user: uid_t, effective: uid_t, saved: uid_t) -> c_int => setresuid_hook {
        privilege::keep_before(effective);
        // SAFETY: the caller's arguments, unchanged.
        unsafe { real::setresuid(user, effective, saved) }
    }
}
