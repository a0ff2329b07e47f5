//! Batched UDP: many datagrams a system call (`recvmmsg(2)`, `sendmmsg(2)`), over any socket that has a descriptor.
//!
//! The only place of the house with `unsafe`: ten system calls, the reading of socket addresses and of a control message. Each batch owns
//! what its headers point to, and nothing of it moves or grows after `new`.
#![allow(unsafe_code)]
#![deny(clippy::undocumented_unsafe_blocks)]

mod batch;
mod buffers;
mod fragments;
mod interfaces;
mod name;
mod open_files;
mod queue;
mod send_batch;
mod undelivered;

pub use batch::{Batch, Slot};
pub use buffers::set_buffers;
pub use fragments::set_dont_fragment;
pub use interfaces::own_addresses;
pub use open_files::raise_open_files;
pub use queue::{QueueFull, Sent};
pub use send_batch::{Refused, SendBatch};
pub use undelivered::{Undelivered, keep_undelivered, next_icmp, next_undelivered};

use std::io;

/// What a system call that counts has to say: its count, or `errno`.
fn counted(result: libc::c_int) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Sets an option of a socket.
fn set(fd: libc::c_int, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the value is an int that outlives the call, and its size is what the call is told.
    let result = unsafe {
        libc::setsockopt(
            fd,
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    counted(result).map(drop)
}

/// An empty header of `recvmmsg` and `sendmmsg`.
fn header(iov: *mut libc::iovec) -> libc::mmsghdr {
    // SAFETY: mmsghdr is plain data, for which zeroes (null pointers, no lengths) are a valid value.
    let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
    header.msg_hdr.msg_iov = iov;
    header.msg_hdr.msg_iovlen = 1;
    header
}
