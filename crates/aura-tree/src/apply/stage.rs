//! New content on its way to a target: written aside, given the target's looks, put in place.
//!
//! Invariants:
//! - a staged file has a name of its own until it is renamed, and none after a failure;
//! - putting it at a free name never replaces what stands there.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, RenameFlags, XattrFlags, fchmod, fchown, fgetxattr, flistxattr,
    fsetxattr, linkat, openat, renameat_with, unlinkat,
};
use rustix::io::Errno;

use super::{WriteRefusal, from_errno, from_io};
use crate::kept::{Place, SwapName};

/// Writes new content under a scratch name; on failure the name is gone again.
pub(super) fn stage(place: &Place, name: &SwapName, new: &[u8]) -> Result<File, WriteRefusal> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o666);
    let handle = openat(place.directory(), name.as_str(), flags, mode).map_err(from_errno)?;
    let mut file = File::from(handle);
    match file.write_all(new) {
        Ok(()) => Ok(file),
        Err(err) => {
            unlinkat(place.directory(), name.as_str(), AtFlags::empty()).ok();
            Err(from_io(err))
        }
    }
}

/// Moves a staged file to a name that must be free.
pub(super) fn put_absent(
    place: &Place,
    name: &SwapName,
    parent: BorrowedFd<'_>,
    leaf: &OsStr,
) -> Result<(), WriteRefusal> {
    let directory = place.directory();
    let flags = RenameFlags::NOREPLACE;
    match renameat_with(directory, name.as_str(), parent, leaf, flags) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            linkat(directory, name.as_str(), parent, leaf, AtFlags::empty())
        }
        done => done,
    }
    .map_err(|errno| match errno {
        Errno::EXIST => WriteRefusal::Moved,
        errno => from_errno(errno),
    })
}

/// Gives new content its target's mode, group and extended attributes; its times are its own, so
/// that build tools see the change.
pub(super) fn copy_attributes(from: &File, to: &File) -> io::Result<()> {
    let meta = from.metadata()?;
    if meta.gid() != to.metadata()?.gid() {
        // A group the user has left cannot be given; the owner's rights are what counts.
        fchown(to, None, Some(Gid::from_raw(meta.gid()))).ok();
    }
    fchmod(to, Mode::from_raw_mode(meta.mode() & 0o777))?;
    let mut names = vec![0; ATTRIBUTE_BYTES_MAX];
    // A file system without attributes has none to copy.
    let len = flistxattr(from, &mut names[..]).unwrap_or(0);
    for name in names[..len]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let mut value = vec![0; ATTRIBUTE_BYTES_MAX];
        if let Ok(len) = fgetxattr(from, name, &mut value[..]) {
            fsetxattr(to, name, &value[..len], XattrFlags::empty()).ok();
        }
    }
    Ok(())
}

/// Bytes of the names, and of each value, of extended attributes: Linux allows no more.
const ATTRIBUTE_BYTES_MAX: usize = 64 << 10;
