//! A ring that its thread has registered: system calls name it by an index, and look no descriptor up.
//!
//! Owns: two system calls that the `io-uring` crate makes only for a submitter that is kept. Never: outlives the thread.

use std::io;
use std::os::fd::RawFd;

/// IORING_REGISTER_RING_FDS (5.18).
const REGISTER: libc::c_int = 20;
const UNREGISTER: libc::c_int = 21;
/// IORING_ENTER_REGISTERED_RING.
const REGISTERED_RING: u32 = 1 << 4;

/// `struct io_uring_rsrc_update`.
#[repr(C)]
struct Update {
    offset: u32,
    reserved: u32,
    data: u64,
}

/// The index that stands for a ring in calls of this thread.
#[derive(Debug)]
pub(crate) struct Registered {
    ring: RawFd,
    index: u32,
}

impl Registered {
    pub(crate) fn new(ring: RawFd) -> io::Result<Registered> {
        let mut update = Update {
            offset: u32::MAX,
            reserved: 0,
            data: ring as u64,
        };
        // SAFETY: the kernel reads one update, and writes the index that it picked there.
        let result =
            unsafe { libc::syscall(libc::SYS_io_uring_register, ring, REGISTER, &mut update, 1) };
        match result {
            1 => Ok(Registered {
                ring,
                index: update.offset,
            }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// # Safety
    /// As of `Submitter::enter`, without an argument.
    pub(crate) unsafe fn enter(&self, submit: u32, want: u32, flags: u32) -> io::Result<usize> {
        let (flags, none) = (flags | REGISTERED_RING, std::ptr::null::<u8>());
        // SAFETY: the caller answers for the entries; there is no argument.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.index,
                submit,
                want,
                flags,
                none,
                0,
            )
        };
        usize::try_from(result).map_err(|_| io::Error::last_os_error())
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut update = Update {
            offset: self.index,
            reserved: 0,
            data: 0,
        };
        // SAFETY: the kernel reads one update. Where the ring is gone it has nothing to give back.
        unsafe {
            libc::syscall(
                libc::SYS_io_uring_register,
                self.ring,
                UNREGISTER,
                &mut update,
                1,
            )
        };
    }
}
