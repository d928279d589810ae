//! One operation of the kernel's crypto interface (AF_ALG, `linux/if_alg.h`): a socket that
//! takes a text and gives back what the algorithm made of it, keyed once. This file holds
//! the `unsafe` of [`crate::crypto`].

#![allow(unsafe_code)]

use std::io::{self, IoSlice, Read as _};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use socket2::{Domain, MsgHdr, Socket, Type};

/// The families of algorithms that SRTP needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Encrypts and authenticates.
    Aead,
    /// Encrypts.
    Skcipher,
    /// Authenticates.
    Hash,
}

impl Family {
    fn name(self) -> &'static [u8] {
        match self {
            Family::Aead => b"aead",
            Family::Skcipher => b"skcipher",
            Family::Hash => b"hash",
        }
    }
}

/// What a cipher is to do with the next text.
#[derive(Clone, Copy, Debug)]
pub(super) enum Direction {
    Encrypt,
    Decrypt,
}

/// A keyed algorithm in the kernel.
#[derive(Debug)]
pub(super) struct Operation(Socket);

impl Operation {
    /// Has the kernel look the algorithm up, by its own name or by a driver's, and gives it
    /// its key.
    ///
    /// # Errors
    /// EAFNOSUPPORT where the kernel has no AF_ALG, ENOENT where it has no such algorithm.
    pub(super) fn open(family: Family, name: &str, key: &[u8]) -> io::Result<Self> {
        let parent = Socket::new(Domain::from(libc::AF_ALG), Type::SEQPACKET, None)?;
        bind(&parent, family, name)?;
        set_option(&parent, libc::ALG_SET_KEY, Some(key), key.len())?;
        if family == Family::Aead {
            // This one option has its value where others have a length.
            set_option(&parent, libc::ALG_SET_AEAD_AUTHSIZE, None, AEAD_TAG)?;
        }
        // The operation keeps its parent alive in the kernel, and needs no descriptor of it.
        Ok(Operation(accept(&parent)?))
    }

    /// Hands over a whole text to be hashed.
    pub(super) fn hash(&self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.send(&MsgHdr::new().with_buffers(parts), parts)
    }

    /// Hands over a whole text to be encrypted or decrypted, whose first octets are only
    /// authenticated.
    pub(super) fn cipher(
        &self,
        direction: Direction,
        vector: &[u8],
        associated: usize,
        parts: &[IoSlice<'_>],
    ) -> io::Result<()> {
        let control = Control::new(direction, vector, associated);
        let header = MsgHdr::new().with_buffers(parts);
        self.send(&header.with_control(control.bytes()), parts)
    }

    fn send(&self, header: &MsgHdr<'_, '_, '_>, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if self.0.sendmsg(header, libc::MSG_NOSIGNAL)? == length {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    /// Waits until the kernel is done, and takes the whole result.
    ///
    /// # Errors
    /// EBADMSG from an AEAD whose text is not authentic.
    pub(super) fn result(&self, into: &mut [u8]) -> io::Result<()> {
        if (&self.0).read(into)? == into.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

/// The control messages beside a text: what to do, the initialisation vector, and how many
/// octets in front are only authenticated.
struct Control {
    bytes: [u8; CONTROL],
    length: usize,
}

impl Control {
    fn new(direction: Direction, vector: &[u8], associated: usize) -> Self {
        let mut control = Control {
            bytes: [0; CONTROL],
            length: 0,
        };
        let operation = match direction {
            Direction::Encrypt => libc::ALG_OP_ENCRYPT,
            Direction::Decrypt => libc::ALG_OP_DECRYPT,
        };
        control.push(libc::ALG_SET_OP, &[&operation.to_ne_bytes()]);
        let length = vector.len() as u32;
        control.push(libc::ALG_SET_IV, &[&length.to_ne_bytes(), vector]);
        if associated > 0 {
            let associated = associated as u32;
            control.push(libc::ALG_SET_AEAD_ASSOCLEN, &[&associated.to_ne_bytes()]);
        }
        control
    }

    /// A `struct cmsghdr` and what it announces, as `cmsg(3)` lays them out: each begins at
    /// a multiple of the size of a `size_t`.
    fn push(&mut self, kind: libc::c_int, content: &[&[u8]]) {
        let length = HEADER + content.iter().map(|part| part.len()).sum::<usize>();
        let parts = [
            &length.to_ne_bytes()[..],
            &libc::SOL_ALG.to_ne_bytes(),
            &kind.to_ne_bytes(),
        ];
        let mut at = self.length;
        for part in parts.iter().chain(content) {
            self.bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        self.length += length.next_multiple_of(size_of::<usize>());
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

fn bind(socket: &Socket, family: Family, name: &str) -> io::Result<()> {
    // SAFETY: a plain C structure for which all zero bytes are a valid value.
    let mut address: libc::sockaddr_alg = unsafe { std::mem::zeroed() };
    address.salg_family = libc::AF_ALG as libc::sa_family_t;
    address.salg_type[..family.name().len()].copy_from_slice(family.name());
    // The name ends with a zero, which is there already.
    let room = address.salg_name.len() - 1;
    if name.len() > room {
        return Err(io::ErrorKind::NotFound.into());
    }
    address.salg_name[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: pointer and length describe `address`, alive during the call, which reads it.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of_val(&address) as libc::socklen_t,
        )
    };
    done(result)
}

/// Sets an option whose value may be absent while its length says something.
fn set_option(
    socket: &Socket,
    option: libc::c_int,
    value: Option<&[u8]>,
    length: usize,
) -> io::Result<()> {
    debug_assert!(value.is_none_or(|value| value.len() == length));
    let value = value.map_or(std::ptr::null(), <[u8]>::as_ptr);
    // SAFETY: `value` is null, or `length` octets that are alive during the call; the kernel
    // takes no other option of AF_ALG without reading them, and reads no more than `length`.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_ALG,
            option,
            value.cast(),
            length as libc::socklen_t,
        )
    };
    done(result)
}

/// An operation socket has no address, and the kernel refuses to be asked for it: the safe
/// calls would.
fn accept(parent: &Socket) -> io::Result<Socket> {
    // SAFETY: without an address the call takes no pointer but nulls, which it allows.
    let raw: RawFd = unsafe {
        libc::accept4(
            parent.as_raw_fd(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            libc::SOCK_CLOEXEC,
        )
    };
    done(raw)?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) }.into())
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Octets of a GCM tag. RFC 7714 §14.2.
const AEAD_TAG: usize = 16;
/// Octets of a `struct cmsghdr`: a length and two integers.
const HEADER: usize = size_of::<usize>() + 8;
/// Room for the three control messages, the longest with a vector of 16 octets.
const CONTROL: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_messages_are_laid_out_as_the_system_s_macros_have_them() {
        let control = Control::new(Direction::Encrypt, &[7; 12], 20);
        // SAFETY: computes a number from a number.
        let space = |length| unsafe { libc::CMSG_SPACE(length) as usize };
        assert_eq!(control.bytes().len(), space(4) + space(16) + space(4));
        let second = &control.bytes()[space(4)..];
        assert_eq!(second[..size_of::<usize>()], (HEADER + 16).to_ne_bytes());
        assert_eq!(second[HEADER..HEADER + 4], 12_u32.to_ne_bytes());
        assert_eq!(second[HEADER + 4..][..12], [7; 12]);

        let longest = Control::new(Direction::Decrypt, &[7; 16], usize::MAX);
        assert!(longest.bytes().len() <= CONTROL);
    }

    #[test]
    fn a_name_that_is_too_long_is_no_algorithm() {
        // A socket of any family will do: the name is looked at first.
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        let refused = bind(&socket, Family::Hash, &"x".repeat(64)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::NotFound);
    }
}
