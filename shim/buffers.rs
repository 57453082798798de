//! A program's buffers: what read(2), readv(2), recvmsg(2) and their like pass.

use libc::iovec;
use nix::errno::Errno;

use crate::memory;

/// `IOV_MAX` of Linux: buffers that one call may pass.
pub const MAX_COUNT: usize = 1024;
/// `MAX_RW_COUNT` of Linux: what one call moves at most.
const MAX_BYTES: usize = i32::MAX as usize & !0xfff;

/// Buffers of a program, checked: no impossible address, no more than `IOV_MAX`,
/// and no more bytes than one call moves.
#[derive(Clone, Copy)]
pub struct Buffers<'a> {
    vector: &'a [iovec],
    total: usize,
}

impl<'a> Buffers<'a> {
    /// Checks a program's vector.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a bad count or length, `EFAULT` for an impossible address.
    ///
    /// # Safety
    ///
    /// As for readv(2) and writev(2): `vector` holds `count` entries, and each
    /// entry's base is valid for its length during `'a`, unless they are
    /// impossible addresses.
    pub unsafe fn new(vector: *const iovec, count: usize) -> Result<Self, Errno> {
        if count > MAX_COUNT {
            return Err(Errno::EINVAL);
        }
        // SAFETY: the caller's promise.
        let vector = unsafe { memory::array(vector.cast_mut(), count) }?;
        let mut total = 0_usize;
        for entry in vector.iter() {
            // readv(2): a length must fit what the call returns.
            if entry.iov_len > isize::MAX as usize {
                return Err(Errno::EINVAL);
            }
            if !memory::is_possible(entry.iov_base.cast(), entry.iov_len) {
                return Err(Errno::EFAULT);
            }
            total = total.saturating_add(entry.iov_len);
        }
        Ok(Self { vector, total: total.min(MAX_BYTES) })
    }

    /// One buffer, as an entry that the caller keeps.
    ///
    /// # Errors
    ///
    /// `EFAULT` for an impossible address.
    ///
    /// # Safety
    ///
    /// As [`Buffers::new`].
    #[inline]
    pub unsafe fn one(entry: &'a iovec) -> Result<Self, Errno> {
        if !memory::is_possible(entry.iov_base.cast(), entry.iov_len) {
            return Err(Errno::EFAULT);
        }
        Ok(Self { vector: std::slice::from_ref(entry), total: entry.iov_len.min(MAX_BYTES) })
    }

    /// One buffer of which nothing is read or written: for `MSG_TRUNC`, which
    /// throws away what the buffer would hold.
    pub fn unread(entry: &'a iovec) -> Self {
        Self { vector: std::slice::from_ref(entry), total: entry.iov_len.min(MAX_BYTES) }
    }

    /// Bytes in all buffers, as far as one call moves them.
    pub fn total(&self) -> usize {
        self.total
    }

    /// What is left of each buffer after the first `done` bytes, to be read.
    pub fn slices(self, done: usize) -> impl Iterator<Item = &'a [u8]> {
        // SAFETY: `new`'s promise; the part lies within its buffer.
        self.parts(done).map(|(base, length)| unsafe { std::slice::from_raw_parts(base, length) })
    }

    /// What is left of each buffer after the first `done` bytes, to be written.
    ///
    /// # Safety
    ///
    /// The buffers are the program's to be written to, as for readv(2).
    pub unsafe fn slices_mut(self, done: usize) -> impl Iterator<Item = &'a mut [u8]> {
        // SAFETY: `new`'s promise and the caller's; the part lies within its buffer.
        self.parts(done).map(|(base, length)| unsafe { std::slice::from_raw_parts_mut(base, length) })
    }

    fn parts(self, mut done: usize) -> impl Iterator<Item = (*mut u8, usize)> + 'a {
        let mut left = self.total - done;
        self.vector.iter().filter_map(move |entry| {
            let skip = done.min(entry.iov_len);
            done -= skip;
            let length = (entry.iov_len - skip).min(left);
            left -= length;
            (length > 0).then(|| (entry.iov_base.cast::<u8>().wrapping_add(skip), length))
        })
    }
}

/// An entry for one buffer.
pub fn entry(base: *const libc::c_void, length: usize) -> iovec {
    iovec { iov_base: base.cast_mut(), iov_len: length }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_is_skipped_across_buffers() {
        let vector = [
            entry(b"abc".as_ptr().cast(), 3),
            entry(b"".as_ptr().cast(), 0),
            entry(b"defg".as_ptr().cast(), 4),
        ];
        // SAFETY: live buffers.
        let buffers = unsafe { Buffers::new(vector.as_ptr(), 3) }.unwrap();
        assert_eq!(buffers.total(), 7);
        let rest = |done| buffers.slices(done).collect::<Vec<_>>().concat();
        assert_eq!(rest(0), b"abcdefg");
        assert_eq!(rest(2), b"cdefg");
        assert_eq!(rest(3), b"defg");
        assert_eq!(rest(7), b"");
    }

    #[test]
    fn wrong_vectors_are_refused_as_readv_does() {
        let null = std::ptr::null();
        let new = |vector: &[iovec]| {
            // SAFETY: refused before anything is touched, or empty.
            unsafe { Buffers::new(vector.as_ptr(), vector.len()) }.map(|buffers| buffers.total())
        };
        assert_eq!(new(&[entry(null, 0)]), Ok(0));
        assert_eq!(new(&[entry(null, 1)]), Err(Errno::EFAULT));
        let byte = b"x".as_ptr().cast();
        assert_eq!(new(&[entry(byte, isize::MAX as usize + 1)]), Err(Errno::EINVAL));
        assert_eq!(new(&[entry(byte, isize::MAX as usize)]), Err(Errno::EFAULT));
        assert_eq!(new(&[entry(byte, 1 << 40), entry(byte, 1)]), Ok(MAX_BYTES));
        assert_eq!(new(&vec![entry(null, 0); MAX_COUNT + 1]), Err(Errno::EINVAL));
    }
}
