//! Owner-only local sockets, also below directories whose path is longer than a socket address can be.
//!
//! Invariants:
//! - a socket stands in a directory that only its owner enters;
//! - a socket that somebody answers on, and a file that is no socket, is never removed.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, ErrorKind, Write},
    os::{
        fd::{AsFd, AsRawFd},
        unix::{
            fs::{FileTypeExt, MetadataExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{REQUEST_BYTES_MAX, Reply};

/// A short name for `dir/name`: through the open directory, as long as the handle lives.
fn through(dir: &Path, name: &str) -> io::Result<(File, PathBuf)> {
    let handle = File::open(dir)?;
    let path = if cfg!(target_os = "linux") {
        PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd())).join(name)
    } else {
        dir.join(name)
    };
    Ok((handle, path))
}

/// Binds `dir/name` with mode 0600; a left-over socket that nobody answers on is replaced.
///
/// Two binders at once must be kept apart by a lock on the directory, which the caller holds.
pub fn bind(dir: &Path, name: &str) -> io::Result<UnixListener> {
    let (handle, path) = through(dir, name)?;
    let meta = handle.metadata()?;
    if meta.uid() != rustix::process::geteuid().as_raw() || meta.mode() & 0o022 != 0 {
        let why = "others can change the directory of the socket";
        return Err(io::Error::new(ErrorKind::PermissionDenied, why));
    }
    remove_stale(&path)?;
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => {}
        Ok(_) => return Err(in_use("a file that is no socket has its name")),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        _ => Err(in_use("somebody answers on the socket")),
    }
}

fn in_use(why: &str) -> io::Error {
    io::Error::new(ErrorKind::AddrInUse, why)
}

/// Removes `dir/name` if it is a socket that nobody answers on; what is not there is fine.
///
/// The caller holds the lock on the directory, as for [`bind`].
pub fn remove_left_over(dir: &Path, name: &str) -> io::Result<()> {
    let (_handle, path) = through(dir, name)?;
    remove_stale(&path)
}

/// Connects to `dir/name`.
pub fn connect(dir: &Path, name: &str) -> io::Result<UnixStream> {
    let (_handle, path) = through(dir, name)?;
    UnixStream::connect(path)
}

/// Whether the process at the other end runs as this user; to be asked of each accepted connection.
pub fn is_own(stream: impl AsFd) -> bool {
    #[cfg(target_os = "linux")]
    return rustix::net::sockopt::socket_peercred(stream)
        .is_ok_and(|peer| peer.uid == rustix::process::geteuid());
    #[cfg(not(target_os = "linux"))]
    {
        // The directory keeps everybody else out.
        let _ = stream.as_fd();
        true
    }
}

/// Sends one request line and reads the replies as they come.
///
/// A request longer than [`REQUEST_BYTES_MAX`] is `InvalidInput`; a reply that cannot be read is `InvalidData`.
pub fn call<T: Serialize>(
    stream: UnixStream,
    request: &T,
) -> io::Result<impl Iterator<Item = io::Result<Reply>> + use<T>> {
    let mut line = serde_json::to_vec(request).map_err(io::Error::other)?;
    line.push(b'\n');
    if REQUEST_BYTES_MAX < line.len() {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "the request is too long",
        ));
    }
    (&stream).write_all(&line)?;
    let invalid = |error| io::Error::new(ErrorKind::InvalidData, error);
    let lines = BufReader::new(stream).lines();
    Ok(lines.map(move |line| serde_json::from_str(&line?).map_err(invalid)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::thread;

    use super::*;
    use crate::{Call, Request, home::ensure_own_dir};

    fn hello() -> Request {
        Request {
            repo: None,
            call: Call::Hello,
        }
    }

    #[test]
    fn a_call_works_below_a_path_longer_than_a_socket_address() {
        let dir = tempfile::tempdir().unwrap();
        let deep = (0..6).fold(dir.path().to_owned(), |path, _| path.join("d".repeat(60)));
        ensure_own_dir(&deep).unwrap();
        let listener = bind(&deep, "s").unwrap();
        assert_eq!(fs::metadata(deep.join("s")).unwrap().mode() & 0o777, 0o600);
        let server = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            assert!(is_own(&stream));
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            let request: Request = serde_json::from_str(&line).unwrap();
            assert!(matches!(request.call, Call::Hello));
            let reply = Reply::Done(serde_json::json!({"schema": "x/1"}));
            writeln!(&stream, "{}", serde_json::to_string(&reply).unwrap()).unwrap();
        });
        let stream = connect(&deep, "s").unwrap();
        let replies: Vec<Reply> = call(stream, &hello())
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert!(matches!(&replies[..], [Reply::Done(_)]));
        server.join().unwrap();
    }

    #[test]
    fn a_left_over_socket_is_replaced_and_a_living_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        drop(bind(dir.path(), "s").unwrap());
        assert!(dir.path().join("s").exists());
        // A process that another test starts has a copy of the socket until it has become its program.
        while UnixStream::connect(dir.path().join("s")).is_ok() {
            thread::yield_now();
        }
        let living = bind(dir.path(), "s").unwrap();
        assert_eq!(
            bind(dir.path(), "s").unwrap_err().kind(),
            ErrorKind::AddrInUse
        );
        drop(living);
    }

    #[test]
    fn a_file_that_is_no_socket_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("s"), "precious").unwrap();
        assert_eq!(
            bind(dir.path(), "s").unwrap_err().kind(),
            ErrorKind::AddrInUse
        );
        assert_eq!(fs::read(dir.path().join("s")).unwrap(), b"precious");
    }

    #[test]
    fn no_socket_is_made_where_others_can_write() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o770)).unwrap();
        let error = bind(dir.path(), "s").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_reply_that_is_no_reply_is_an_error_and_not_a_panic() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        writeln!(&theirs, "{{\"what\": 1}}").unwrap();
        let mut replies = call(ours, &hello()).unwrap();
        drop(theirs);
        assert_eq!(
            replies.next().unwrap().unwrap_err().kind(),
            ErrorKind::InvalidData
        );
    }

    #[test]
    fn a_request_that_is_too_long_is_not_sent() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let symbols = vec!["x".repeat(REQUEST_BYTES_MAX)];
        let request = Request {
            repo: None,
            call: Call::Diff { symbols },
        };
        let refused = call(ours, &request).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    }
}
