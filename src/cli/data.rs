//! The data directory: held by one process, with the admin token and the control socket, both closed to others.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rand::RngExt;

/// Returns where the control socket of a data directory is.
pub fn socket_path(data: &Path) -> PathBuf {
    data.join("run").join("control.sock")
}

/// Returns where the admin token of a data directory is.
pub fn token_path(data: &Path) -> PathBuf {
    data.join("admin-token")
}

/// A data directory held by this process until it is dropped.
pub struct Data {
    path: PathBuf,
    _lock: File,
}

impl Data {
    /// Makes the directory if need be and holds it. Errors are in words for the operator.
    pub fn hold(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| format!("cannot make the data directory {shown}: {error}; choose another with --data"))?;
        let mut options = OpenOptions::new();
        let lock = options.create(true).truncate(false).write(true).mode(0o600).open(path.join("lock"));
        let lock = lock.map_err(|error| format!("cannot write to the data directory {shown}: {error}"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.into(), _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                Err(format!("another bursar runs with the data directory {shown}; choose another with --data"))
            }
            Err(TryLockError::Error(error)) => Err(format!("cannot lock the data directory {shown}: {error}")),
        }
    }

    /// Returns the control socket, listening. One that a dead process left behind is replaced.
    pub fn listen(&self) -> io::Result<UnixListener> {
        let socket = socket_path(&self.path);
        // A data directory that was there before may be open to others, and its mode is not ours to change. The socket's
        // own folder is: closed before the socket is in it.
        let folder = self.path.join("run");
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        match fs::remove_file(&socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&socket)?;
        fs::set_permissions(&socket, Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// Returns the admin token, made on the first start.
    pub fn admin_token(&self) -> io::Result<String> {
        let path = token_path(&self.path);
        let mut options = OpenOptions::new();
        match options.create_new(true).write(true).mode(0o600).open(&path) {
            Ok(mut file) => {
                let secret: [u8; 32] = rand::rng().random();
                let token = format!("bursar-admin-{}", blake3::Hash::from_bytes(secret).to_hex());
                file.write_all(token.as_bytes())?;
                file.sync_all()?;
                Ok(token)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let mut token = String::new();
                File::open(&path)?.read_to_string(&mut token)?;
                Ok(token.trim().into())
            }
            Err(error) => Err(error),
        }
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        let _ = fs::remove_file(socket_path(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_is_refused_and_a_new_directory_is_closed_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");

        let held = Data::hold(&path).unwrap();

        assert!(Data::hold(&path).err().unwrap().contains("another bursar"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        drop(held);
        assert!(Data::hold(&path).is_ok());
    }

    #[test]
    fn in_a_directory_that_is_open_to_others_the_socket_is_not() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        let data = Data::hold(folder.path()).unwrap();

        data.listen().unwrap();

        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let socket = socket_path(folder.path());
        assert_eq!((mode(&socket), mode(socket.parent().unwrap())), (0o600, 0o700));
        assert_eq!(mode(folder.path()), 0o777, "what is not ours stays as it was");
    }

    #[test]
    fn the_admin_token_is_made_once_and_readable_by_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let data = Data::hold(folder.path()).unwrap();

        let first = data.admin_token().unwrap();

        assert_eq!(data.admin_token().unwrap(), first);
        assert!(first.len() > 64);
        let mode = fs::metadata(token_path(folder.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
