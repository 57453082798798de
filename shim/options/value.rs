//! Values of options in memory of the program, with Linux's rules for lengths.

use std::mem::size_of;
use std::time::Duration;

use libc::{c_void, linger, socklen_t, timeval};
use nix::errno::Errno;

use super::limit;
use crate::memory;

/// A value that a program passed to setsockopt(2).
#[derive(Clone, Copy)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// Wraps the program's memory.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a negative length, `EFAULT` for an impossible address.
    ///
    /// # Safety
    ///
    /// `value` is an impossible address (see [`memory`]) or readable for `length`
    /// bytes during `'a`.
    pub unsafe fn new(value: *const c_void, length: socklen_t) -> Result<Self, Errno> {
        if (length as i32) < 0 {
            return Err(Errno::EINVAL);
        }
        // SAFETY: the caller's promise.
        Ok(Self(unsafe { memory::array(value.cast_mut().cast(), length as usize) }?))
    }

    /// The value as it is.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// A wrapper for tests and for values of our own.
    #[cfg(test)]
    pub fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn words<const N: usize>(self) -> Result<[u8; N], Errno> {
        self.0.first_chunk::<N>().copied().ok_or(Errno::EINVAL)
    }

    /// An int.
    ///
    /// # Errors
    ///
    /// `EINVAL` when the value is shorter.
    pub fn int(self) -> Result<i32, Errno> {
        self.words().map(i32::from_ne_bytes)
    }

    /// A long, when there is one.
    pub fn long(self) -> Option<u64> {
        self.words().ok().map(u64::from_ne_bytes)
    }

    /// A name: up to a NUL, or as much as leaves room for one in `ROOM` bytes.
    ///
    /// # Errors
    ///
    /// `EINVAL` for an empty value, `ENOENT` for what is no text.
    pub fn name<const ROOM: usize>(self) -> Result<&'a str, Errno> {
        if self.0.is_empty() {
            return Err(Errno::EINVAL);
        }
        let bytes = self.0.split(|&byte| byte == 0).next().unwrap_or_default();
        let bytes = bytes.get(..ROOM - 1).unwrap_or(bytes);
        std::str::from_utf8(bytes).map_err(|_| Errno::ENOENT)
    }

    /// An int that is on or off.
    ///
    /// # Errors
    ///
    /// As [`Input::int`].
    pub fn bool(self) -> Result<bool, Errno> {
        self.int().map(|value| value != 0)
    }

    /// A `struct linger`: seconds when it is on.
    ///
    /// # Errors
    ///
    /// `EINVAL` when the value is shorter.
    pub fn linger(self) -> Result<Option<u16>, Errno> {
        let bytes: [u8; size_of::<linger>()] = self.words()?;
        let [on, seconds] = halves(bytes);
        let on = i32::from_ne_bytes(on) != 0;
        let seconds = i32::from_ne_bytes(seconds).clamp(0, u16::MAX.into()) as u16;
        Ok(on.then_some(seconds))
    }

    /// A `struct timeval`; zero is no limit.
    ///
    /// # Errors
    ///
    /// `EINVAL` when the value is shorter, `EDOM` when the microseconds are none
    /// (`sock_set_timeout`).
    pub fn timeout(self) -> Result<Option<Duration>, Errno> {
        let bytes: [u8; size_of::<timeval>()] = self.words()?;
        let [seconds, micros] = halves(bytes).map(i64::from_ne_bytes);
        if !(0..1_000_000).contains(&micros) {
            return Err(Errno::EDOM);
        }
        // A negative time does not wait at all; the nearest that we can say is a nanosecond.
        let time = u64::try_from(seconds).map_or(Duration::from_nanos(1), Duration::from_secs);
        Ok(limit(time.saturating_add(Duration::from_micros(micros as u64))))
    }
}

/// The two halves of a value.
fn halves<const N: usize, const H: usize>(bytes: [u8; N]) -> [[u8; H]; 2] {
    const { assert!(N == 2 * H) };
    let mut halves = [[0; H]; 2];
    halves[0].copy_from_slice(&bytes[..H]);
    halves[1].copy_from_slice(&bytes[H..]);
    halves
}

/// Where a program wants a value from getsockopt(2).
pub struct Output<'a> {
    room: &'a mut [u8],
    length: &'a mut socklen_t,
}

impl<'a> Output<'a> {
    /// Wraps the program's memory.
    ///
    /// # Errors
    ///
    /// `EFAULT` for impossible addresses, `EINVAL` for a negative length.
    ///
    /// # Safety
    ///
    /// Unless they are impossible addresses (see [`memory`]), both are valid
    /// during `'a`: `value` writable for `*length` bytes.
    pub unsafe fn new(value: *mut c_void, length: *mut socklen_t) -> Result<Self, Errno> {
        // SAFETY: the caller's promise.
        let length = unsafe { memory::borrow(length) }?;
        if (*length as i32) < 0 {
            return Err(Errno::EINVAL);
        }
        // SAFETY: the caller's promise.
        let room = unsafe { memory::array(value.cast(), *length as usize) }?;
        Ok(Self { room, length })
    }

    /// The room and its length, for the kernel to fill.
    pub fn parts(&mut self) -> (&mut [u8], &mut socklen_t) {
        (self.room, self.length)
    }

    /// Bytes that the program has room for.
    pub fn room(&self) -> usize {
        self.room.len()
    }

    /// A value of any type: as much as there is room for.
    ///
    /// # Errors
    ///
    /// None.
    pub fn bytes(&mut self, value: &[u8]) -> Result<(), Errno> {
        let count = value.len().min(self.room.len());
        self.room[..count].copy_from_slice(&value[..count]);
        *self.length = count as socklen_t;
        Ok(())
    }

    /// An int.
    ///
    /// # Errors
    ///
    /// None.
    pub fn int(&mut self, value: i32) -> Result<(), Errno> {
        self.bytes(&value.to_ne_bytes())
    }

    /// A `struct linger`.
    ///
    /// # Errors
    ///
    /// None.
    pub fn linger(&mut self, value: Option<u16>) -> Result<(), Errno> {
        let on = i32::from(value.is_some()).to_ne_bytes();
        let seconds = i32::from(value.unwrap_or(0)).to_ne_bytes();
        self.bytes([on, seconds].as_flattened())
    }

    /// A `struct timeval`; no limit is zero.
    ///
    /// # Errors
    ///
    /// None.
    pub fn timeout(&mut self, value: Option<Duration>) -> Result<(), Errno> {
        let value = value.unwrap_or_default();
        let seconds = (value.as_secs() as i64).to_ne_bytes();
        let micros = i64::from(value.subsec_micros()).to_ne_bytes();
        self.bytes([seconds, micros].as_flattened())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back(room: usize, write: impl FnOnce(&mut Output<'_>) -> Result<(), Errno>) -> Vec<u8> {
        let (mut memory, mut length) = (vec![0; room], room as socklen_t);
        // SAFETY: live memory of that length.
        let mut out = unsafe { Output::new(memory.as_mut_ptr().cast(), &raw mut length) }.unwrap();
        write(&mut out).unwrap();
        memory.truncate(length as usize);
        memory
    }

    #[test]
    fn a_value_survives_the_way_through_the_programs_memory() {
        for time in [None, Some(Duration::from_micros(1_500_001)), Some(Duration::from_secs(3))] {
            let bytes = read_back(16, |out| out.timeout(time));
            assert_eq!(Input::of(&bytes).timeout(), Ok(time));
        }
        for linger in [None, Some(0), Some(9)] {
            let bytes = read_back(8, |out| out.linger(linger));
            assert_eq!(Input::of(&bytes).linger(), Ok(linger));
        }
        assert_eq!(Input::of(&read_back(4, |out| out.int(-7))).int(), Ok(-7));
    }

    #[test]
    fn a_short_room_gets_a_part_and_a_long_one_the_true_length() {
        assert_eq!(read_back(2, |out| out.int(0x0102)), 0x0102_i32.to_ne_bytes()[..2]);
        assert_eq!(read_back(9, |out| out.int(1)).len(), 4);
    }

    #[test]
    fn short_values_and_impossible_times_are_refused() {
        assert_eq!(Input::of(&[1, 0, 0]).int(), Err(Errno::EINVAL));
        assert_eq!(Input::of(&[0; 15]).timeout(), Err(Errno::EDOM).or(Err(Errno::EINVAL)));
        let bad = [1_i64.to_ne_bytes(), 1_000_000_i64.to_ne_bytes()];
        assert_eq!(Input::of(bad.as_flattened()).timeout(), Err(Errno::EDOM));
    }

    #[test]
    fn a_name_ends_at_its_nul_or_at_its_room() {
        assert_eq!(Input::of(b"reno\0more").name::<16>(), Ok("reno"));
        assert_eq!(Input::of(b"cubic").name::<16>(), Ok("cubic"));
        assert_eq!(Input::of(b"abcdefgh").name::<4>(), Ok("abc"));
        assert_eq!(Input::of(b"").name::<16>(), Err(Errno::EINVAL));
        assert_eq!(Input::of(b"\xff").name::<16>(), Err(Errno::ENOENT));
    }

    #[test]
    fn a_long_is_told_from_an_int() {
        assert_eq!((Input::of(&7u64.to_ne_bytes()).long(), Input::of(&[0; 4]).long()), (Some(7), None));
    }

    #[test]
    fn null_and_negative_lengths_are_refused() {
        let null = std::ptr::null_mut();
        // SAFETY: null is allowed.
        assert_eq!(unsafe { Input::new(null, 4) }.map(|_| ()), Err(Errno::EFAULT));
        // SAFETY: null is allowed.
        assert_eq!(unsafe { Output::new(null, null.cast()) }.map(|_| ()), Err(Errno::EFAULT));
        let mut length = -1_i32 as socklen_t;
        // SAFETY: refused before anything is touched.
        assert_eq!(unsafe { Output::new(null, &raw mut length) }.map(|_| ()), Err(Errno::EINVAL));
    }
}
