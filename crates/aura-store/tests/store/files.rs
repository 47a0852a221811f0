//! Atomic, private and locked files.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use aura_store::files::{SECRET_BYTES_MAX, Unsafe, sweep_temporaries};
use aura_store::{FileError, SecretFile, ensure_private_dir, lock_exclusive, write_atomic};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn problem(result: Result<impl Sized, FileError>) -> Unsafe {
    match result {
        Err(FileError::UnsafePermissions { problem, .. }) => problem,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("an unsafe file was used"),
    }
}

#[test]
fn an_atomic_write_replaces_content_and_mode_and_leaves_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    write_atomic(&path, b"one", 0o644).unwrap();
    write_atomic(&path, b"two", 0o755).unwrap();
    assert_eq!(
        (fs::read(&path).unwrap(), mode(&path)),
        (b"two".to_vec(), 0o755)
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    fs::create_dir(dir.path().join("taken")).unwrap();
    write_atomic(&dir.path().join("taken"), b"no", 0o600).unwrap_err();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    let nowhere = write_atomic(&dir.path().join("no/file"), b"no", 0o600);
    assert!(matches!(nowhere, Err(FileError::NotFound { .. })));
}

#[test]
fn leftovers_of_a_crash_are_swept_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    for name in [".a.1-0.aura-tmp", ".b.77-3.aura-tmp", "keep.tmp", "keep"] {
        fs::write(dir.path().join(name), b"x").unwrap();
    }
    assert_eq!(sweep_temporaries(dir.path()).unwrap(), 2);
    assert!(dir.path().join("keep.tmp").exists() && dir.path().join("keep").exists());
}

#[test]
fn a_secret_is_created_once_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let secret = SecretFile::new(dir.path().join("key"));
    assert!(matches!(secret.read(), Err(FileError::NotFound { .. })));
    secret.create(b"seed").unwrap();
    assert_eq!(mode(secret.path()), 0o600);
    assert_eq!(secret.read().unwrap().as_slice(), b"seed");
    assert!(matches!(
        secret.create(b"other"),
        Err(FileError::Exists { .. })
    ));
    assert_eq!(secret.read().unwrap().as_slice(), b"seed");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_secret_that_others_may_touch_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let secret = SecretFile::new(dir.path().join("key"));
    secret.create(b"seed").unwrap();
    for bits in [0o640, 0o604, 0o620, 0o610, 0o601, 0o666] {
        fs::set_permissions(secret.path(), fs::Permissions::from_mode(bits)).unwrap();
        assert_eq!(problem(secret.read()), Unsafe::Mode(bits));
    }
    fs::set_permissions(secret.path(), fs::Permissions::from_mode(0o400)).unwrap();
    assert_eq!(secret.read().unwrap().as_slice(), b"seed");
}

#[test]
fn a_secret_that_is_no_plain_file_of_ours_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let secret = SecretFile::new(dir.path().join("key"));
    secret.create(b"seed").unwrap();
    let link = SecretFile::new(dir.path().join("link"));
    symlink(secret.path(), link.path()).unwrap();
    assert_eq!(problem(link.read()), Unsafe::Symlink);
    assert!(matches!(link.create(b"x"), Err(FileError::Exists { .. })));
    assert_eq!(problem(SecretFile::new(dir.path()).read()), Unsafe::NotFile);
    // Root may give the file away; anybody else looks at a file of root.
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(secret.path(), Some(1), None).unwrap();
        assert_eq!(problem(secret.read()), Unsafe::Owner(1));
    } else {
        assert_eq!(
            problem(SecretFile::new("/etc/passwd").read()),
            Unsafe::Owner(0)
        );
    }
}

#[test]
fn a_secret_of_absurd_size_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let secret = SecretFile::new(dir.path().join("key"));
    secret.create(&vec![1; SECRET_BYTES_MAX]).unwrap();
    assert_eq!(secret.read().unwrap().len(), SECRET_BYTES_MAX);
    let large = SecretFile::new(dir.path().join("large"));
    large.create(&vec![1; SECRET_BYTES_MAX + 1]).unwrap();
    assert!(matches!(large.read(), Err(FileError::TooLarge { .. })));
}

#[test]
fn a_private_directory_is_made_or_checked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("private");
    ensure_private_dir(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
    ensure_private_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
    assert_eq!(problem(ensure_private_dir(&path)), Unsafe::Mode(0o750));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    symlink(&path, dir.path().join("link")).unwrap();
    assert_eq!(
        problem(ensure_private_dir(&dir.path().join("link"))),
        Unsafe::Symlink
    );
    fs::write(dir.path().join("file"), b"").unwrap();
    assert_eq!(
        problem(ensure_private_dir(&dir.path().join("file"))),
        Unsafe::NotDirectory
    );
}

#[test]
fn a_lock_is_held_by_one_and_follows_no_link() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let held = lock_exclusive(&path).unwrap();
    let second = lock_exclusive(&path);
    assert!(matches!(second, Err(FileError::Locked { path: named }) if named == path));
    drop(held);
    lock_exclusive(&path).unwrap();
    let link = dir.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(matches!(lock_exclusive(&link), Err(FileError::Io { .. })));
}
